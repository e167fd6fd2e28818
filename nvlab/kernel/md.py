# SPDX-License-Identifier: GPL-2.0-or-later
"""MD arrays with mdadm, known by a UUID chosen beforehand, never by their node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count

from nvlab.errors import Conflict
from nvlab.kernel import block
from nvlab.kernel.interface import CommandFailed, Kernel
from nvlab.kernel.ops import Await, MakeDir, MakeFile, Op, Remove, RemoveDir, Run, Write, quote
from nvlab.kernel.verb import Args, Made, SharedVerb, Verb

CONF_DIR = "/etc/mdadm/mdadm.conf.d"


class Ignore(SharedVerb):
    """``uuid``, ``name``: keep udev's incremental assembly away from this array.

    Without it, members that reappear after ``--stop`` are assembled again under our hands (stack facts: md127 and half arrays).
    The directory is shared by all labs, the file in it is this lab's.
    """

    name = "md.ignore"
    survives_boot = True

    def make(self, args: Args) -> Sequence[Op]:
        return [MakeDir(CONF_DIR, exist_ok=True), MakeFile(self._file(args), text=f"ARRAY <ignore> UUID={args['uuid']}\n")]

    def find(self, kernel: Kernel, args: Args) -> Made | None:
        return {} if kernel.exists(self._file(args)) else None

    def keys(self, args: Args) -> list[str]:
        return [f"path:{CONF_DIR}", f"path:{self._file(args)}"]

    def has(self, kernel: Kernel, args: Args, key: str) -> bool:
        return kernel.exists(key.partition(":")[2])

    def release(self, args: Args, keys: Sequence[str]) -> Sequence[Op]:
        paths = [key.partition(":")[2] for key in keys]
        return [RemoveDir(p, only_empty=True) if p == CONF_DIR else Remove(p) for p in paths]

    def _file(self, args: Args) -> str:
        return f"{CONF_DIR}/nvlab-{args['name']}.conf"


class Create(Verb):
    """An array: ``name``, ``uuid``, ``level``, ``members``, perhaps ``journal`` and ``mode``, ``chunk`` (KiB),
    ``stripe_cache`` (stripes), ``assume_clean``.

    ``number`` (the node's) is chosen free on the node. The resync is waited for unless ``assume_clean``.

    A journal's device must take no discards, or ``--stop`` may hang for ever. Measured on 6.1 and 6.12, once in some twenty stops
    after more than a quarter of the journal was written: ``raid5_quiesce`` waits for stripes, holding ``reconfig_mutex``; they
    wait for a superblock that ``r5l_write_super_and_discard_space`` asked for and, without that mutex, nobody writes. One that
    goes with the lab is told to take none; a real disk (``journal_stays``) is for its owner to tell.
    """

    name = "md.create"
    survives_boot = True
    deadline = 60.0

    def choose(self, kernel: Kernel, args: Args) -> Args:
        taken = kernel.listdir("/sys/block")
        chosen = {**args, "number": next(n for n in count() if f"md{n}" not in taken)}
        if args.get("journal"):
            chosen["discard_limit"] = limit = block.discard_limit(kernel, args["journal"])
            if args.get("journal_stays") and kernel.read(limit) != "0":
                raise Conflict(
                    f"{args['journal']} takes discards: Linux may hang when it stops an array whose journal does",
                    hint=f"until the next boot it takes none after: echo 0 > {limit}",
                )
        return chosen

    def choices(self, args: Args) -> Mapping[str, str]:
        limit = {"discard_limit": f"$(discard_limit {quote(args['journal'])})"} if args.get("journal") else {}
        return {"number": "$(free_number md)", **limit}

    def outputs(self, args: Args) -> Mapping[str, str]:
        return {"dev": quote(f"/dev/md{args['number']}")}

    def make(self, args: Args) -> Sequence[Op]:
        md = f"/sys/block/md{args['number']}/md"
        mute = args.get("discard_limit") and not args.get("journal_stays")
        ops: list[Op] = [Write(args["discard_limit"], "0")] if mute else []
        ops.append(Run(_create_argv(args), deadline=120.0))
        if not args.get("assume_clean") and int(args["level"]) != 0:
            # a resync may begin a while after the array does; recovery onto the last disk shows as degraded
            synced = {f"{md}/resync_start": "none", f"{md}/sync_action": "idle", f"{md}/degraded": "0"}
            ops += [
                Await(
                    f"the first resync of md{args['number']}",
                    equals=synced,
                    progress=f"{md}/sync_completed",
                    deadline=float(args.get("resync_deadline", 600)),
                )
            ]
        if args.get("stripe_cache"):
            ops.append(Write(f"{md}/stripe_cache_size", str(args["stripe_cache"])))
        if args.get("mode") == "write-back":  # never persistent: every start begins in write-through (r5l_init_log)
            ops.append(Write(f"{md}/journal_mode", "write-back"))
        return ops

    def find(self, kernel: Kernel, args: Args) -> Made | None:
        name = f"md{args['number']}"
        stands = kernel.exists(f"/sys/block/{name}")
        if stands and _uuid(kernel, "--detail", f"/dev/{name}") == args["uuid"]:
            # mdadm writes every superblock before it adds the first member
            return {**block.facts(kernel, name), "marked": " ".join(_parts(args))}
        marked = " ".join(m for m in _parts(args) if _uuid(kernel, "--examine", m) == args["uuid"])
        if not stands:
            return {"marked": marked} if marked else None
        bare = {"bare": name} if _is_bare(kernel, name) else {}
        return {"marked": marked, **bare} if marked or bare else None

    def settled(self, made: Made) -> bool:
        return "dev" in made

    def unmake(self, args: Args, made: Made) -> Sequence[Op]:
        ops: list[Op] = []
        if name := made.get("name", made.get("bare")):
            ops += [
                Run(("mdadm", "--stop", f"/dev/{name}")),
                Await(f"/dev/{name} to stop", absent=(f"/sys/block/{name}/md",)),
            ]
        if made["marked"]:
            ops.append(Run(("mdadm", "--zero-superblock", *made["marked"].split())))
        return ops


def _parts(args: Args) -> list[str]:
    return [*args["members"], *([args["journal"]] if args.get("journal") else [])]


def _create_argv(args: Args) -> tuple[str, ...]:
    """Every default is spelled out: mdadm asks when it is unsure, and asks differently from version to version."""
    words = [
        *("mdadm", "--create", f"/dev/md{args['number']}", "--run", "--metadata=1.2", "--homehost=nvlab"),
        *(f"--name={args['name']}", f"--uuid={args['uuid']}", f"--level={args['level']}"),
        f"--raid-devices={len(args['members'])}",
    ]
    if int(args["level"]) != 0:
        words.append("--bitmap=none")
    if args.get("chunk"):
        words.append(f"--chunk={args['chunk']}")
    if args.get("journal"):
        words.append(f"--write-journal={args['journal']}")
    if args.get("assume_clean"):
        words.append("--assume-clean")
    return (*words, *args["members"])


def _is_bare(kernel: Kernel, name: str) -> bool:
    """Whether this is what a mdadm leaves that died before the first member was in; only later the array says its UUID.

    A living mdadm (of another lab, which chose the same number) holds the node open exclusively.
    """
    try:
        clear = kernel.read(f"/sys/block/{name}/md/array_state") == "clear"
    except OSError:  # it went away while we looked
        return False
    return clear and not kernel.listdir(f"/sys/block/{name}/slaves") and kernel.claimable(f"/dev/{name}")


def _uuid(kernel: Kernel, verb: str, dev: str) -> str:
    """MD_UUID of an array (--detail) or of a member's superblock (--examine); "" when there is none."""
    answer = kernel.query(("mdadm", verb, "--export", dev))
    if answer.code < 0 or answer.code == 127:  # killed or missing: not an answer, and no licence to think "absent"
        raise CommandFailed(answer)
    words = dict(line.partition("=")[::2] for line in answer.out.splitlines())
    return words.get("MD_UUID", "") if answer.code == 0 else ""


VERBS = (Ignore(), Create())
