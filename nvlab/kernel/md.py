# SPDX-License-Identifier: GPL-2.0-or-later
"""MD arrays with mdadm, known by a UUID chosen beforehand, never by their node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count

from nvlab.errors import Conflict
from nvlab.kernel import block
from nvlab.kernel.act import Act
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
    ``stripe_cache`` (stripes), ``assume_clean``; ``spares`` are what acts may add to it later.

    ``number`` (the node's) is chosen free on the node. The resync is waited for unless ``assume_clean``.

    A journal's device must take no discards, or ``--stop`` may hang for ever. Measured on 6.1 and 6.12, once in some twenty stops
    after more than a quarter of the journal was written: ``raid5_quiesce`` waits for stripes, holding ``reconfig_mutex``; they
    wait for a superblock that ``r5l_write_super_and_discard_space`` asked for and, without that mutex, nobody writes. One that
    goes with the lab is told to take none; a real disk (``journal_stays``) is for its owner to tell.
    """

    name = "md.create"
    survives_boot = True
    contested = True
    deadline = 60.0

    def choose_beside(self, kernel: Kernel, args: Args, others: Sequence[Args]) -> Args:
        taken = {*kernel.listdir("/sys/block"), *(f"md{other['number']}" for other in others)}
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
        return _begun(args, _create_argv(args), "" if args.get("assume_clean") else "first resync")

    def find(self, kernel: Kernel, args: Args) -> Made | None:
        name = f"md{args['number']}"
        stands = kernel.exists(f"/sys/block/{name}")
        if stands and _uuid(kernel, "--detail", f"/dev/{name}") == args["uuid"]:
            # mdadm writes every superblock before it adds the first member
            marked = [*_parts(args), *_ours(kernel, args, args.get("spares", ()))]
            return {**block.facts(kernel, name), "marked": " ".join(marked)}
        marked = _ours(kernel, args, [*_parts(args), *args.get("spares", ())])
        if not stands:
            return {"marked": " ".join(marked)} if marked else None
        bare = {"bare": name} if _is_bare(kernel, name) else {}
        return {"marked": " ".join(marked), **bare} if marked or bare else None

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


class Assemble(Create):
    """The array that :class:`Create` has made of the same arguments, after its machine died: MD replays its journal, or resyncs.

    Nothing is written that the array does not write itself, and all of it must be there: mdadm starts no array that lacks a
    member or its journal unless it is forced to.
    """

    name = "md.assemble"

    def make(self, args: Args) -> Sequence[Op]:
        argv = ("mdadm", "--assemble", f"/dev/md{args['number']}", f"--uuid={args['uuid']}", *_parts(args))
        return _begun(args, argv, "resync")

    def find(self, kernel: Kernel, args: Args) -> Made | None:
        """What is on the members was there before, and stays."""
        name = f"md{args['number']}"
        if not kernel.exists(f"/sys/block/{name}"):
            return None
        if _uuid(kernel, "--detail", f"/dev/{name}") == args["uuid"]:
            return {**block.facts(kernel, name), "marked": ""}
        return {"bare": name, "marked": ""} if _is_bare(kernel, name) else None


def _begun(args: Args, argv: tuple[str, ...], awaited: str) -> list[Op]:
    """An array that ``argv`` starts, once what is ``awaited`` of it is over ("": nothing), with what is to be set then."""
    md = f"/sys/block/md{args['number']}/md"
    mute = args.get("discard_limit") and not args.get("journal_stays")
    ops: list[Op] = [Write(args["discard_limit"], "0")] if mute else []
    ops.append(Run(argv, deadline=120.0))
    if awaited and int(args["level"]) != 0:
        # a resync may begin a while after the array does; recovery onto the last disk shows as degraded
        whole = {f"{md}/resync_start": "none", f"{md}/sync_action": "idle", f"{md}/degraded": "0"}
        deadline = float(args.get("resync_deadline", 600))
        what = f"the {awaited} of md{args['number']}"
        ops.append(Await(what, equals=whole, progress=f"{md}/sync_completed", deadline=deadline))
    if args.get("stripe_cache"):
        ops.append(Write(f"{md}/stripe_cache_size", str(args["stripe_cache"])))
    return [*ops, *_write_back(f"md{args['number']}", args.get("mode", ""))]


def _parts(args: Args) -> list[str]:
    return [*args["members"], *([args["journal"]] if args.get("journal") else [])]


def _ours(kernel: Kernel, args: Args, devices: Sequence[str]) -> list[str]:
    """Those of the devices that bear the array's superblock."""
    return [device for device in devices if _uuid(kernel, "--examine", device) == args["uuid"]]


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


# -- acts: ``array`` and ``member`` are nodes, ``name`` and ``member_name`` the kernel's names of them ---------------


class Fail(Act):
    """A member fails."""

    name = "md.fail"

    def ops(self, args: Args) -> Sequence[Op]:
        return [Run(("mdadm", "--manage", args["array"], "--fail", args["member"]))]

    def found(self, kernel: Kernel, args: Args) -> str:
        return health(kernel, args["name"])


class Leave(Fail):
    """A failed member is removed; MD lets it go once nothing is under way to it."""

    name = "md.remove"

    def ops(self, args: Args) -> Sequence[Op]:
        return [Run(("mdadm", "--manage", args["array"], "--remove", args["member"]), again=(1,))]


class Add(Fail):
    """A device joins; with ``wait`` until it is rebuilt, at most ``deadline`` s."""

    name = "md.add"

    def ops(self, args: Args) -> Sequence[Op]:
        add = Run(("mdadm", "--manage", args["array"], "--add", args["member"]))
        return [add, _rebuilt(args["name"], args["member_name"], args["deadline"])] if args["wait"] else [add]


class AddJournal(Fail):
    """A journal comes back; ``mode`` is what it had. MD takes it while the array is read-only, and mdadm ends that."""

    name = "md.add-journal"

    def ops(self, args: Args) -> Sequence[Op]:
        add = [
            Run(("mdadm", "--readonly", args["array"]), again=(1,), deadline=20.0),  # whoever closed it may not be gone yet
            Run(("mdadm", "--manage", args["array"], "--add-journal", args["member"])),
        ]
        return [*add, *_write_back(args["name"], args["mode"])]


class Replace(Fail):
    """``by`` takes the place of a member that still works, within ``deadline`` s."""

    name = "md.replace"

    def ops(self, args: Args) -> Sequence[Op]:
        manage = ("mdadm", "--manage", args["array"])
        return [
            Run((*manage, "--add", args["by"])),
            Run((*manage, "--replace", args["member"], "--with", args["by"])),
            _rebuilt(args["name"], args["by_name"], args["deadline"]),
            Run((*manage, "--remove", args["member"]), again=(1,)),  # MD fails it when its copy is whole
        ]


def _rebuilt(name: str, member: str, deadline: float) -> Await:
    md = f"/sys/block/{name}/md"
    whole = {f"{md}/dev-{member}/state": "in_sync", f"{md}/sync_action": "idle"}
    return Await(f"the rebuild of {name} onto {member}", equals=whole, progress=f"{md}/sync_completed", deadline=deadline)


def _write_back(name: str, mode: str) -> list[Op]:
    """Sets the mode of a journal that has just begun: in write-through, always (r5l_init_log)."""
    return [Write(f"/sys/block/{name}/md/journal_mode", mode)] if mode == "write-back" else []


def health(kernel: Kernel, name: str) -> str:
    """What state an array is in, in words.

    One is easy to miss: without its journal an array says it is clean and not degraded, reads are served, and every write fails
    ``journal_mode`` then reads empty, some time later; ``mdadm --detail`` calls the journal a spare.
    """
    md = f"/sys/block/{name}/md"

    def read(file: str) -> str:
        try:
            return kernel.read(f"{md}/{file}")
        except OSError:  # a member that goes while we look, or an array that is of another kind
            return ""

    states = [read(f"{each}/state") for each in kernel.listdir(md) if each.startswith("dev-")]
    if read("consistency_policy") == "journal" and not (read("journal_mode") and "journal" in states):
        return f"{name} has lost its journal: it says {read('array_state')}, and every write fails"
    state, missing, action = read("array_state"), read("degraded"), read("sync_action")
    words = [f"{name} is {state}", f"degraded by {missing}" if missing != "0" else "whole"]
    return ", ".join([*words, *([action] if action != "idle" else [])])


VERBS = (Ignore(), Create(), Assemble())
ACTS = (Fail(), Leave(), Add(), AddJournal(), Replace())
