# SPDX-License-Identifier: GPL-2.0-or-later
"""What Linux answers to nvlab's primitives in each state: one list of cases for the fake kernel and for real ones.

Each case builds a little, does one thing or a few, and says what came of it; the answers were measured on Debian's 6.1 and
6.12. The simulation runs the list against the fake, ``python contract.py [nvlab.ko]`` runs it as root in a guest whose memory
from 5 GiB on is reserved. Standard library and nvlab only.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from nvlab.errors import DeadlineExceeded
from nvlab.kernel import block
from nvlab.kernel.interface import CommandFailed, Kernel
from nvlab.kernel.ops import Await, Link, MakeDir, MakeFile, Op, Remove, RemoveDir, Run, Transact, Unheld, Unload, Write

CONFIG = "/sys/kernel/config"
NULLB = f"{CONFIG}/nullb"
NVMET = f"{CONFIG}/nvmet"
MODULES = ("configfs", "nvmet", "nvmet-tcp", "nvme-fabrics", "nvme-tcp", "raid456", "raid1", "loop", "dm-mod", "ext4")
MODULES += ("veth", "sch_netem")
FAR = "/run/contract-far"  # the namespace at the far end of a wire
UUID = "11111111:22222222:33333333:44444444"
HOSTID = "6f9d1f6e-27c4-5b0e-9c55-3f6d0b1c8a11"

Answer = str | list[str]


@dataclass
class Bench:
    """A kernel, and what to remove when the case is over."""

    kernel: Kernel
    module: str = ""
    undo: list[Op] = field(default_factory=list)

    def make(self, op: Op, *undo: Op) -> None:
        """Do what must succeed; ``undo`` is done at the end, the last first."""
        self.undo += undo
        self.kernel.perform(op)

    def try_(self, op: Op) -> str:
        """Do it and name the outcome: "ok", an errno, "exit N", or "deadline"."""
        try:
            self.kernel.perform(op)
        except OSError as error:
            return errno.errorcode[error.errno or 0]
        except CommandFailed as failed:
            return f"exit {failed.completed.code}"
        except DeadlineExceeded:
            return "deadline"
        return "ok"

    def write(self, path: str, text: str) -> str:
        return self.try_(Write(path, text))

    def run(self, *argv: str) -> str:
        return self.try_(Run(argv))

    def clean(self) -> None:
        while self.undo:
            self.kernel.perform(self.undo.pop())

    # -- things that cases stand on ------------------------------------------------------------------------

    def disk(self, name: str, mib: int = 64, discard: int = 0) -> str:
        """A memory-backed null_blk; its node."""
        base = f"{NULLB}/{name}"
        self.make(MakeDir(base), RemoveDir(base))
        for key, value in {"size": mib, "memory_backed": 1, "discard": discard}.items():
            self.make(Write(f"{base}/{key}", str(value)))
        self.make(Write(f"{base}/power", "1"), Await(name, absent=(f"/sys/block/{name}",)), Write(f"{base}/power", "0"))
        return f"/dev/{name}"

    def mapping(self, name: str, on: str, sectors: int = 2048) -> str:
        """A linear dm device; its node."""
        table = f"0 {sectors} linear {on} 0"
        create = Run(("dmsetup", "create", name, "--uuid", f"U-{name}", "--table", table))
        self.make(create, Run(("dmsetup", "remove", "--retry", name)))
        self.make(Await(name, block=(f"/dev/mapper/{name}",)))
        return f"/dev/mapper/{name}"

    def array(self, number: int = 77, level: int = 1, journal: str = "") -> str:
        """An array of two or three fresh disks; its node."""
        members = [self.disk(f"m{i}") for i in range(2 if level == 1 else 3)]
        node = f"/dev/md{number}"
        parts = [*members, *([journal] if journal else [])]
        self.make(create_array(node, level, members, journal), Run(("mdadm", "--zero-superblock", *parts)))
        stop = Run(("mdadm", "--stop", node), again=(1,), deadline=60.0)  # whoever looked at it may not be gone yet
        self.undo += [Await(node, absent=(f"/sys/block/md{number}/md",)), stop]
        return node

    def subsystem(self, nqn: str = "nqn.t", *, any_host: bool = False) -> str:
        path = f"{NVMET}/subsystems/{nqn}"
        self.make(MakeDir(path), RemoveDir(path))
        if any_host:
            self.make(Write(f"{path}/attr_allow_any_host", "1"))
        return path

    def namespace(self, subsystem: str, device: str) -> str:
        """Namespace 1, enabled."""
        path = f"{subsystem}/namespaces/1"
        self.make(MakeDir(path), RemoveDir(path), Write(f"{path}/enable", "0"))
        self.make(Write(f"{path}/device_path", device))
        self.make(Write(f"{path}/enable", "1"))
        return path

    def port(self, number: int = 7, service: str = "4499", address: str = "127.0.0.1") -> str:
        path = f"{NVMET}/ports/{number}"
        self.make(MakeDir(path), RemoveDir(path))
        values = {"trtype": "tcp", "adrfam": "ipv4", "traddr": address, "trsvcid": service}
        for key, value in values.items():
            self.make(Write(f"{path}/addr_{key}", value))
        return path

    def expose(self, port: str, subsystem: str) -> str:
        link = f"{port}/subsystems/{subsystem.rpartition('/')[2]}"
        self.make(Link(link, subsystem), Remove(link))
        return link

    def target(self) -> str:
        """A subsystem with a namespace, shown on a port to any host; the subsystem."""
        subsystem = self.subsystem(any_host=True)
        self.namespace(subsystem, self.disk("t0"))
        self.expose(self.port(), subsystem)
        return subsystem

    def connected(self, nqn: str = "nqn.t", **changed: str) -> str:
        """The controller of a connection to :meth:`target`; gone at the end."""
        self.make(Transact("/dev/nvme-fabrics", request(**changed)))
        name = next(c for c in self.kernel.listdir("/sys/class/nvme") if self._nqn(c) == nqn)
        base = f"/sys/class/nvme/{name}"
        self.undo += [Await(name, absent=(base,)), Write(f"{base}/delete_controller", "1", missing_ok=True)]
        return base

    def wire(self) -> None:
        """A veth pair, near with 198.18.0.1 and far, in the namespace at FAR, with 198.18.0.2."""
        self.make(MakeFile(FAR), Remove(FAR))
        self.make(Run(("unshare", f"--net={FAR}", "true")), Run(("umount", FAR)))
        self.make(Run(pair()), Run(("ip", "link", "del", "near")))
        for words in END:
            self.make(Run(tuple(word.format("near", 1) for word in words)))
            self.make(Run((*THERE, *(word.format("far", 2) for word in words))))

    def _nqn(self, controller: str) -> str:
        return self.kernel.read(f"/sys/class/nvme/{controller}/subsysnqn")


THERE = ("nsenter", f"--net={FAR}")
END = (("ip", "address", "add", "198.18.0.{1}/30", "dev", "{0}"), ("ip", "link", "set", "{0}", "up"))


def pair(near: str = "near", far: str = "far", netns: str = FAR) -> tuple[str, ...]:
    """The words that make a veth pair."""
    ends = [("address", f"02:00:00:00:00:0{n}", "mtu", "1500", "gso_max_segs", "1") for n in (1, 2)]
    return ("ip", "link", "add", near, *ends[0], "type", "veth", "peer", "name", far, *ends[1], "netns", netns)


def create_array(node: str, level: int, members: Sequence[str], journal: str = "") -> Run:
    words = [f"--level={level}", f"--raid-devices={len(members)}", "--assume-clean", "--bitmap=none"]
    if journal:
        words.append(f"--write-journal={journal}")
    common = ("--run", "--metadata=1.2", "--homehost=nvlab", "--name=t", f"--uuid={UUID}")
    return Run(("mdadm", "--create", node, *common, *words, *members))


def request(**changed: str) -> str:
    words = {
        "transport": "tcp",
        "traddr": "127.0.0.1",
        "trsvcid": "4499",
        "nqn": "nqn.t",
        "hostnqn": "nqn.h",
        "hostid": HOSTID,
        "nr_io_queues": "1",
        "ctrl_loss_tmo": "10",
    }
    return ",".join(f"{key}={value}" for key, value in (words | changed).items())


@dataclass(frozen=True)
class Case:
    """One case: what it does, and what a kernel answers; ``late`` where 6.12 differs from 6.1."""

    act: Callable[[Bench], Answer]
    expect: Answer
    late: Answer | None
    needs_module: bool

    @property
    def name(self) -> str:
        return self.act.__name__

    def expected(self, release: str) -> Answer:
        newer = tuple(int(n) for n in release.split(".")[:2]) >= (6, 12)
        return self.late if newer and self.late is not None else self.expect


CASES: list[Case] = []


def case(
    expect: Answer, *, late: Answer | None = None, module: bool = False
) -> Callable[..., Callable[[Bench], Answer]]:
    """Register a case with its measured answer."""

    def register(act: Callable[[Bench], Answer]) -> Callable[[Bench], Answer]:
        CASES.append(Case(act, expect, late, module))
        return act

    return register


# -- files and directories -------------------------------------------------------------------------------------


@case(["ENOENT", "EISDIR", "EACCES", "EACCES"])
def writing_what_is_not_there_a_directory_or_read_only(b: Bench) -> Answer:
    b.disk("d0")
    return [
        b.write(f"{NULLB}/d0/no_such_attribute", "1"),
        b.write(f"{NULLB}/d0", "1"),
        b.write(f"{NULLB}/features", "1"),
        b.write("/sys/block/d0/size", "1"),
    ]


@case(["EPERM", "EPERM", "EPERM", "EPERM"])
def making_and_removing_where_only_the_kernel_does(b: Bench) -> Answer:
    b.disk("d0")
    return [
        b.try_(MakeDir(f"{CONFIG}/mine")),
        b.try_(MakeDir(f"{NULLB}/d0/mine")),
        b.try_(RemoveDir(NULLB)),
        b.try_(MakeDir("/sys/block/mine")),
    ]


@case(["EEXIST", "EEXIST", "ok", "EISDIR", "ENOTEMPTY", "ok", "ok"])
def ordinary_files(b: Bench) -> Answer:
    top = "/tmp/contract"
    b.make(MakeDir(top), RemoveDir(top))
    b.make(MakeFile(f"{top}/file", size=4096), Remove(f"{top}/file"))
    return [
        b.try_(MakeFile(f"{top}/file")),
        b.try_(MakeDir(top)),
        b.try_(MakeDir(top, exist_ok=True)),
        b.try_(Remove(top)),
        b.try_(RemoveDir(top)),
        b.try_(RemoveDir(top, only_empty=True)),
        b.try_(Remove(f"{top}/none")),
    ]


# -- null_blk --------------------------------------------------------------------------------------------------


@case(["EEXIST", "EBUSY", "ok", "EINVAL"])
def null_blk_once_it_is_on(b: Bench) -> Answer:
    b.disk("d0")
    base = f"{NULLB}/d0"
    return [
        b.try_(MakeDir(base)),
        b.write(f"{base}/size", "32"),
        b.write(f"{base}/power", "1"),
        b.write(f"{base}/power", "x"),
    ]


@case(["EINVAL", "ok", "no disk"])
def null_blk_before_it_is_on(b: Bench) -> Answer:
    base = f"{NULLB}/d0"
    b.make(MakeDir(base), RemoveDir(base))
    answers = [b.write(f"{base}/size", "many"), b.write(f"{base}/power", "0")]
    return [*answers, "a disk" if b.kernel.exists("/sys/block/d0") else "no disk"]


@case(["ok", "no disk", "ok"])
def null_blk_removed_while_on(b: Bench) -> Answer:
    b.disk("d0")
    first = b.try_(RemoveDir(f"{NULLB}/d0"))
    b.kernel.perform(Await("d0", absent=("/sys/block/d0",)))
    b.undo.clear()
    return [first, "a disk" if b.kernel.exists("/dev/d0") else "no disk", b.try_(RemoveDir(f"{NULLB}/d0"))]


@case(["deadline", "ok", "ok"])
def what_is_held_is_not_free(b: Bench) -> Answer:
    disk = b.disk("d0")
    b.mapping("over", disk)
    held = b.try_(Unheld(disk, deadline=0.2))
    b.make(b.undo.pop())
    return [held, b.try_(Unheld(disk)), b.try_(Unheld("/dev/none"))]


@case(["takes discards", "takes none", "EINVAL"])
def a_disk_can_be_told_to_take_no_discards(b: Bench) -> Answer:
    b.disk("d0", discard=1)
    limit = block.discard_limit(b.kernel, "/dev/d0")
    before = "takes none" if b.kernel.read(limit) == "0" else "takes discards"
    b.make(Write(limit, "0"))
    return [before, "takes none" if b.kernel.read(limit) == "0" else "takes discards", b.write(limit, "many")]


# -- modules ---------------------------------------------------------------------------------------------------


@case(["exit 1", "exit 1", "exit 1", "ok", "deadline"])
def modules_in_use_absent_and_loaded(b: Bench) -> Answer:
    b.disk("d0")
    return [
        b.run("rmmod", "null_blk"),
        b.run("rmmod", "no_such_module"),
        b.run("modprobe", "no_such_module"),
        b.run("modprobe", "null_blk", "nr_devices=3"),
        b.try_(Unload(("null_blk",), deadline=0.3)),
    ]


@case(["exit 1", "exit 1", "deadline"])
def the_target_is_kept_by_what_is_in_configfs(b: Bench) -> Answer:
    subsystem = b.subsystem()
    nvmet = b.run("rmmod", "nvmet")
    b.expose(b.port(), subsystem)
    return [nvmet, b.run("rmmod", "nvmet_tcp"), b.try_(Unload(("nvmet_tcp",), deadline=0.3))]


# -- the target ------------------------------------------------------------------------------------------------


@case(["EINVAL", "EEXIST", "ok"])
def names_of_subsystems(b: Bench) -> Answer:
    b.subsystem()
    b.undo.append(
        RemoveDir(f"{NVMET}/subsystems/{'x' * 224}")
    )  # one more than a NQN has; it is cut only when it is shown
    return [
        b.try_(MakeDir(f"{NVMET}/subsystems/nqn.2014-08.org.nvmexpress.discovery")),
        b.try_(MakeDir(f"{NVMET}/subsystems/nqn.t")),
        b.try_(MakeDir(f"{NVMET}/subsystems/{'x' * 224}")),
    ]


@case(["EINVAL", "EINVAL", "EPERM", "EINVAL"])
def names_of_namespaces_and_ports(b: Bench) -> Answer:
    subsystem = b.subsystem()
    return [
        b.try_(MakeDir(f"{subsystem}/namespaces/0")),
        b.try_(MakeDir(f"{subsystem}/namespaces/one")),
        b.try_(RemoveDir(f"{subsystem}/namespaces")),
        b.try_(MakeDir(f"{NVMET}/ports/65536")),
    ]


@case(["EINVAL", "ENOENT", "ENOENT", "(null)"])
def enabling_without_a_device(b: Bench) -> Answer:
    subsystem = b.subsystem()
    path = f"{subsystem}/namespaces/1"
    b.make(MakeDir(path), RemoveDir(path))
    unset = b.kernel.read(f"{path}/device_path")
    answers = [b.write(f"{path}/enable", "1")]
    for device in ("/dev/nope", "/dev/null "):
        b.make(Write(f"{path}/device_path", device))
        answers.append(b.write(f"{path}/enable", "1"))
    return [*answers, unset]


@case(["EBUSY", "EBUSY", "EBUSY", "EINVAL", "ok", "ok", "EINVAL"])
def an_enabled_namespace(b: Bench) -> Answer:
    subsystem = b.subsystem()
    path = b.namespace(subsystem, b.disk("d0"))
    return [
        b.write(f"{path}/device_path", "/dev/d0"),
        b.write(f"{path}/device_uuid", HOSTID),
        b.write(f"{path}/device_nguid", HOSTID),
        b.write(f"{path}/buffered_io", "1"),
        b.write(f"{path}/ana_grpid", "1"),
        b.write(f"{path}/enable", "1"),
        b.write(f"{path}/enable", "2"),
    ]


@case(["EINVAL", "EACCES"])
def a_disabled_namespace_has_no_size_to_revalidate(b: Bench) -> Answer:
    subsystem = b.subsystem()
    path = f"{subsystem}/namespaces/1"
    b.make(MakeDir(path), RemoveDir(path))
    answer = b.write(f"{path}/revalidate_size", "1")
    try:
        b.kernel.read(f"{path}/revalidate_size")
    except OSError as error:
        return [answer, errno.errorcode[error.errno or 0]]
    return [answer, "readable"]


@case(["EINVAL", "EINVAL", "ok", "1"])
def identities_of_a_namespace(b: Bench) -> Answer:
    subsystem = b.subsystem()
    path = f"{subsystem}/namespaces/1"
    b.make(MakeDir(path), RemoveDir(path))
    answers = [b.write(f"{path}/device_uuid", "no"), b.write(f"{path}/device_nguid", "no")]
    return [*answers, b.write(f"{path}/device_nguid", HOSTID), b.kernel.read(f"{path}/ana_grpid")]


@case(["EINVAL", "EINVAL", "ENOENT"])
def hosts_and_any_host_exclude_each_other(b: Bench) -> Answer:
    host = f"{NVMET}/hosts/nqn.h"
    b.make(MakeDir(host), RemoveDir(host))
    named, open_ = b.subsystem("nqn.named"), b.subsystem("nqn.open", any_host=True)
    b.make(Link(f"{named}/allowed_hosts/nqn.h", host), Remove(f"{named}/allowed_hosts/nqn.h"))
    return [
        b.write(f"{named}/attr_allow_any_host", "1"),
        b.try_(Link(f"{open_}/allowed_hosts/nqn.h", host)),
        b.try_(Link(f"{named}/allowed_hosts/nqn.x", f"{NVMET}/hosts/nqn.x")),
    ]


@case(["EBUSY", "ENOTEMPTY", "EBUSY"])
def removing_what_is_used(b: Bench) -> Answer:
    host = f"{NVMET}/hosts/nqn.h"
    b.make(MakeDir(host), RemoveDir(host))
    subsystem = b.subsystem()
    b.make(Link(f"{subsystem}/allowed_hosts/nqn.h", host), Remove(f"{subsystem}/allowed_hosts/nqn.h"))
    used_host = b.try_(RemoveDir(host))
    b.namespace(subsystem, b.disk("d0"))
    full = b.try_(RemoveDir(subsystem))
    b.expose(b.port(), subsystem)
    return [used_host, full, b.try_(RemoveDir(subsystem))]


@case(["ENOTEMPTY", "ENOTEMPTY", "EPERM"])
def removing_a_port_that_is_not_bare(b: Bench) -> Answer:
    port = b.port()
    b.make(MakeDir(f"{port}/ana_groups/2"), RemoveDir(f"{port}/ana_groups/2"))
    with_group = b.try_(RemoveDir(port))
    b.make(b.undo.pop())
    b.expose(port, b.subsystem())
    return [with_group, b.try_(RemoveDir(port)), b.try_(RemoveDir(f"{port}/ana_groups/1"))]


@case(["EINVAL", "EINVAL", "EINVAL", "EINVAL"])
def linking_under_a_port_without_an_address(b: Bench) -> Answer:
    subsystem = b.subsystem()
    port = f"{NVMET}/ports/7"
    b.make(MakeDir(port), RemoveDir(port))
    answers = []
    for key, value in {"": "", "trtype": "tcp", "adrfam": "ipv4", "traddr": "127.0.0.1"}.items():
        if key:
            b.make(Write(f"{port}/addr_{key}", value))
        answers.append(b.try_(Link(f"{port}/subsystems/nqn.t", subsystem)))
    return answers


@case(["EADDRINUSE", "EADDRNOTAVAIL", "EEXIST", "EACCES", "EACCES"])
def ports_that_listen(b: Bench) -> Answer:
    subsystem = b.subsystem()
    link = b.expose(b.port(), subsystem)
    second, far = b.port(8), b.port(9, address="192.0.2.1")
    return [
        b.try_(Link(f"{second}/subsystems/nqn.t", subsystem)),
        b.try_(Link(f"{far}/subsystems/nqn.t", subsystem)),
        b.try_(Link(link, subsystem)),
        b.write(f"{NVMET}/ports/7/addr_traddr", "127.0.0.2"),
        b.write(f"{NVMET}/ports/7/addr_trtype", "tcp"),
    ]


@case(["EINVAL", "EINVAL", "EINVAL", "EINVAL", "EINVAL"])
def values_that_no_port_has(b: Bench) -> Answer:
    port = b.port()
    group = f"{port}/ana_groups/1/ana_state"
    return [
        b.write(f"{port}/addr_trtype", "pigeon"),
        b.write(f"{port}/addr_adrfam", "ipv5"),
        b.write(f"{port}/addr_treq", "maybe"),
        b.write(group, "splendid"),
        b.try_(MakeDir(f"{port}/ana_groups/129")),
    ]


@case(["EACCES", "1"])
def exporting_what_is_read_only(b: Bench) -> Answer:
    b.array()
    # udev may be looking at the new array still, which the kernel counts as a use
    b.make(Run(("mdadm", "--readonly", "/dev/md77"), again=(1,), deadline=60.0))
    path = f"{b.subsystem()}/namespaces/1"
    b.make(MakeDir(path), RemoveDir(path))
    b.make(Write(f"{path}/device_path", "/dev/md77"))
    return [b.write(f"{path}/enable", "1"), b.kernel.read("/sys/block/md77/ro")]


@case("nothing")
def exporting_a_device_takes_no_claim(b: Bench) -> Answer:
    disk = b.disk("d0")
    b.namespace(b.subsystem(), disk)
    return "nothing" if b.kernel.claimable(disk) else "claimed"


# -- the initiator ---------------------------------------------------------------------------------------------


@contextmanager
def _target(b: Bench) -> Iterator[str]:
    yield b.target()


@case(["ECONNREFUSED", "EIO", "EINVAL", "EINVAL", "EINVAL", "EINVAL"])
def connects_that_cannot_work(b: Bench) -> Answer:
    b.target()
    ask = lambda **changed: b.try_(Transact("/dev/nvme-fabrics", request(**changed)))  # noqa: E731
    return [
        ask(trsvcid="4498"),
        ask(nqn="nqn.other"),
        ask(colour="blue"),
        ask(queue_size="4"),
        ask(transport="pigeon"),
        b.try_(Transact("/dev/nvme-fabrics", "transport=tcp,traddr=127.0.0.1")),
    ]


@case("EIO")
def a_host_that_is_not_let_in(b: Bench) -> Answer:
    subsystem = b.subsystem()
    b.namespace(subsystem, b.disk("t0"))
    b.expose(b.port(), subsystem)
    return b.try_(Transact("/dev/nvme-fabrics", request()))


@case(["live", "EALREADY", "EINVAL", "a disk", "no controller", "ok"])
def a_connection(b: Bench) -> Answer:
    subsystem = b.target()
    controller = b.connected()
    answers = [b.kernel.read(f"{controller}/state"), b.try_(Transact("/dev/nvme-fabrics", request()))]
    answers.append(b.write(f"{subsystem}/attr_serial", "LATE"))
    b.kernel.until(lambda: bool(_namespace(b.kernel)), what="the namespace", deadline=120)
    answers.append("a disk")
    b.make(Write(f"{controller}/delete_controller", "1"))
    b.make(Await("the controller", absent=(controller,)))
    answers.append("a controller" if b.kernel.exists(controller) else "no controller")
    return [*answers, b.try_(Write(f"{controller}/delete_controller", "1", missing_ok=True))]


@case("ok", late="EINVAL")
def a_host_id_that_another_host_has(b: Bench) -> Answer:
    b.target()
    b.connected()
    before = set(b.kernel.listdir("/sys/class/nvme"))
    answer = b.try_(Transact("/dev/nvme-fabrics", request(hostnqn="nqn.other")))
    for name in set(b.kernel.listdir("/sys/class/nvme")) - before:
        b.make(Write(f"/sys/class/nvme/{name}/delete_controller", "1"))
        b.make(Await(name, absent=(f"/sys/class/nvme/{name}",)))
    return answer


@case(["gone", "back"])
def disabling_a_namespace_takes_the_disk_from_the_host(b: Bench) -> Answer:
    subsystem = b.target()
    b.connected()
    enable = f"{subsystem}/namespaces/1/enable"
    b.kernel.until(lambda: bool(_namespace(b.kernel)), what="the namespace", deadline=120)
    b.make(Write(enable, "0"))
    b.kernel.until(lambda: not _namespace(b.kernel), what="its end", deadline=120)
    b.make(Write(enable, "1"))
    b.kernel.until(lambda: bool(_namespace(b.kernel)), what="its return", deadline=120)
    return ["gone", "back"]


def _namespace(kernel: Kernel) -> str | None:
    from nvlab.kernel.block import nvme_namespace

    return nvme_namespace(kernel, "nqn.t", 1)


# -- MD --------------------------------------------------------------------------------------------------------


@case(["exit 1", "exit 1", "exit 1"])
def mdadm_of_what_is_no_array(b: Bench) -> Answer:
    disk = b.disk("d0")
    return [_code(b, "--detail", disk), _code(b, "--examine", disk), b.run("mdadm", "--stop", "/dev/md99")]


@case(["exit 0 11111111:22222222:33333333:44444444", "exit 0 11111111:22222222:33333333:44444444", "clean", "stopped"])
def an_array_and_its_end(b: Bench) -> Answer:
    node = b.array()
    answers = [
        _code(b, "--detail", node),
        _code(b, "--examine", "/dev/m0"),
        b.kernel.read("/sys/block/md77/md/array_state"),
    ]
    b.make(b.undo.pop())
    b.make(b.undo.pop())
    return [*answers, "stopped"]


@case(["exit 1", "exit 1", "exit 2", "exit 1"])
def arrays_that_cannot_be(b: Bench) -> Answer:
    b.array()
    spare, small = [b.disk(f"s{i}") for i in range(3)], b.disk("tiny", 1)
    b.undo += [Run(("mdadm", "--zero-superblock", *spare), ok=(0, 1))]
    return [
        b.try_(create_array("/dev/md78", 1, ["/dev/m0", spare[0]])),
        b.try_(create_array("/dev/md77", 1, spare[:2])),
        b.try_(create_array("/dev/md78", 1, spare[:2], journal=spare[2])),
        b.try_(create_array("/dev/md78", 5, spare, journal=small)),
    ]


@case(["exit 1", "exit 2", "m0 m1", "md77"])
def an_array_in_use(b: Bench) -> Answer:
    b.mapping("over", b.array())
    slaves, holders = b.kernel.listdir("/sys/block/md77/slaves"), b.kernel.listdir("/sys/block/m0/holders")
    stop, zero = b.run("mdadm", "--stop", "/dev/md77"), b.run("mdadm", "--zero-superblock", "/dev/m0")
    return [stop, zero, " ".join(slaves), " ".join(holders)]


@case(["ok", "EINVAL", "write-through [write-back]", "EINVAL", "ok"])
def the_journal_of_an_array(b: Bench) -> Answer:
    b.array(level=5, journal=b.disk("j0"))
    path = "/sys/block/md77/md"
    return [
        b.write(f"{path}/journal_mode", "write-back"),
        b.write(f"{path}/journal_mode", "sideways"),
        b.kernel.read(f"{path}/journal_mode"),
        b.write(f"{path}/stripe_cache_size", "16"),
        b.write(f"{path}/stripe_cache_size", "512"),
    ]


@case(["ok", "degraded by 1", "exit 1", "ok", "exit 1", "ok", "in_sync", "ok", "faulty", "ok", "degraded by 0", "exit 1"])
def members_come_and_go(b: Bench) -> Answer:
    """A member fails, leaves and comes back; a spare takes the place of one that works."""
    spare = b.disk("s0")
    b.undo += [Run(("mdadm", "--zero-superblock", spare))]
    node = b.array(level=5)
    manage, md = ("mdadm", "--manage", node), "/sys/block/md77/md"
    leave = Run((*manage, "--remove", "/dev/m1"), again=(1,))

    def degraded() -> str:
        return f"degraded by {b.kernel.read(f'{md}/degraded')}"

    def whole(member: str) -> Await:
        return Await(member, equals={f"{md}/dev-{member}/state": "in_sync", f"{md}/sync_action": "idle"})

    answers = [b.run(*manage, "--fail", "/dev/m1"), degraded(), b.run(*manage, "--remove", "/dev/m0")]
    answers += [b.try_(leave), b.run(*manage, "--remove", "/dev/m1"), b.run(*manage, "--add", "/dev/m1")]
    b.make(whole("m1"))
    answers += [b.kernel.read(f"{md}/dev-m1/state")]
    b.make(Run((*manage, "--add", spare)))
    answers += [b.run(*manage, "--replace", "/dev/m0", "--with", spare)]
    b.make(whole("s0"))
    answers += [b.kernel.read(f"{md}/dev-m0/state"), b.run(*manage, "--remove", "/dev/m0"), degraded()]
    return [*answers, b.run(*manage, "--replace", "/dev/m0", "--with", spare)]


@case(["ok", "clean", "0", "faulty,journal", "ok", "", "exit 1", "exit 1", "ok", "ok", "[write-through] write-back"])
def a_lost_journal_leaves_an_array_that_says_it_is_clean(b: Bench) -> Answer:
    """And MD takes one back only while the array is read-only, which it cannot become while anybody has it open."""
    node, md = b.array(level=5, journal=b.disk("j0")), "/sys/block/md77/md"
    read = lambda name: b.kernel.read(f"{md}/{name}")  # noqa: E731
    manage = ("mdadm", "--manage", node)
    answers = [b.run(*manage, "--fail", "/dev/j0"), read("array_state"), read("degraded"), read("dev-j0/state")]
    answers += [b.try_(Run((*manage, "--remove", "/dev/j0"), again=(1,))), read("journal_mode")]
    answers.append(b.run(*manage, "--add-journal", "/dev/j0"))
    b.mapping("over", node)
    answers.append(b.run("mdadm", "--readonly", node))
    b.make(b.undo.pop())
    answers.append(b.try_(Run(("mdadm", "--readonly", node), again=(1,), deadline=60.0)))
    return [*answers, b.run(*manage, "--add-journal", "/dev/j0"), read("journal_mode")]


@case(["ok", "ok", "exit 1"])
def wiping_superblocks(b: Bench) -> Answer:
    disks = [b.disk("m0"), b.disk("m1")]
    blank = b.run("mdadm", "--zero-superblock", disks[0])
    b.make(create_array("/dev/md77", 1, disks))
    b.make(Run(("mdadm", "--stop", "/dev/md77")))
    return [blank, b.run("mdadm", "--zero-superblock", *disks), _code(b, "--examine", disks[0])]


@case(["clear", "", "ok", "stopped"])
def an_array_that_mdadm_did_not_get_any_further_with(b: Bench) -> Answer:
    """Killed after it made the array object and before the first member was in, mdadm leaves this behind."""
    b.make(Write("/sys/module/md_mod/parameters/new_array", "md78"), Run(("mdadm", "--stop", "/dev/md78"), ok=(0, 1)))
    answers = [b.kernel.read("/sys/block/md78/md/array_state"), " ".join(b.kernel.listdir("/sys/block/md78/slaves"))]
    answers.append(b.run("mdadm", "--stop", "/dev/md78"))
    b.make(Await("md78", absent=("/sys/block/md78/md",)))
    return [*answers, "stopped"]


def _code(b: Bench, verb: str, node: str) -> str:
    answer = b.kernel.query(("mdadm", verb, "--export", node))
    uuid = next((line.partition("=")[2] for line in answer.out.splitlines() if line.startswith("MD_UUID=")), "")
    return f"exit {answer.code} {uuid}".strip()


# -- device-mapper, loop, partitions, file systems -------------------------------------------------------------


@case(["exit 1", "exit 1", "exit 1", "exit 1", "exit 1", "ok"])
def mappings_that_cannot_be(b: Bench) -> Answer:
    b.mapping("over", b.disk("d0"))
    member = b.array() and "/dev/m0"
    create = lambda name, uuid, on: b.run("dmsetup", "create", name, "--uuid", uuid, "--table", f"0 8 {on}")  # noqa: E731
    answers = [
        create("over", "U-2", "linear /dev/d0 0"),
        create("other", "U-over", "linear /dev/d0 0"),
        create("other", "U-2", "linear /dev/none 0"),
        create("other", "U-2", f"linear {member} 0"),
        create("other", "U-2", "no-such-target /dev/d0 0"),
        create("shared", "U-3", "linear /dev/d0 4096"),
    ]
    b.make(Run(("dmsetup", "remove", "--retry", "shared")))
    return answers


@case(["exit 1", "exit 1", "exit 1", "exit 1", "ok", "over", "ok", "over", "ok", ""])
def a_mapping_gets_another_table(b: Bench) -> Answer:
    """Both tables hold their devices until the device goes on with the new one; removing it lets go of both."""
    disk, other = b.disk("d0"), b.disk("d1")
    b.mapping("over", disk)
    reload = lambda name, on: b.run("dmsetup", "reload", name, "--table", f"0 8 {on}")  # noqa: E731
    name = b.kernel.read("/sys/block/" + b.kernel.listdir("/sys/block/d0/holders")[0] + "/dm/name")
    held = lambda disk: " ".join(name for _ in b.kernel.listdir(f"/sys/block/{disk}/holders"))  # noqa: E731
    answers = [reload("none", f"linear {other} 0"), reload("over", "linear /dev/none 0"), reload("over", "no-such-target 0")]
    answers += [b.run("dmsetup", "resume", "none"), reload("over", f"linear {other} 0"), held("d1")]
    answers += [b.run("dmsetup", "resume", "over"), held("d1"), reload("over", "linear /dev/d0 0")]
    b.make(b.undo.pop())
    return [*answers, held("d0") + held("d1")]


@case(["exit 1", "exit 1", "ok"])
def removing_mappings(b: Bench) -> Answer:
    b.mapping("upper", b.mapping("lower", b.disk("d0")), sectors=1024)
    busy, absent = b.run("dmsetup", "remove", "lower"), b.run("dmsetup", "remove", "none")
    b.make(b.undo.pop())
    return [busy, absent, b.run("dmsetup", "info", "lower")]


@case(["exit 1", "exit 1", "ok", "still there", "gone"])
def loops(b: Bench) -> Answer:
    b.make(MakeFile("/tmp/contract.img", size=8 << 20), Remove("/tmp/contract.img"))
    missing, unused = b.run("losetup", "--find", "/tmp/none.img"), b.run("losetup", "--detach", "/dev/loop7")
    b.make(Run(("losetup", "--find", "/tmp/contract.img")))
    name = next(n for n in b.kernel.listdir("/sys/block") if _backing(b, n) == "/tmp/contract.img")
    b.mapping("over", f"/dev/{name}")
    detached = b.run("losetup", "--detach", f"/dev/{name}")
    there = "still there" if _backing(b, name) else "gone"
    b.make(b.undo.pop())
    b.kernel.perform(Await(name, absent=(f"/sys/block/{name}/loop/backing_file",)))
    return [missing, unused, detached, there, "still there" if _backing(b, name) else "gone"]


def _backing(b: Bench, name: str) -> str:
    path = f"/sys/block/{name}/loop/backing_file"
    return b.kernel.read(path) if b.kernel.exists(path) else ""


@case(["a partition", "exit 0", "no partition", "exit 1", "no partition"])
def partitions(b: Bench) -> Answer:
    disk = b.disk("d0")
    there = lambda: "a partition" if b.kernel.exists("/sys/class/block/d0p1") else "no partition"  # noqa: E731
    b.make(Run(("sgdisk", "--disk-guid=6f9d1f6e-27c4-5b0e-9c55-3f6d0b1c8a11", "--new=1:0:0", disk)))
    b.make(Await("d0p1", exists=("/sys/class/block/d0p1",)))
    answers = [there(), f"exit {b.kernel.query(('sgdisk', '--print', disk)).code}"]
    # who still has the partition open keeps the kernel from reading the table again; the fake has no udev that would
    b.kernel.query(("udevadm", "settle"))
    b.make(Run(("sgdisk", "--zap-all", disk)))
    return [*answers, there(), b.run("partx", "--delete", disk), there()]


@case(["exit 2", "exit 32", "ok", "exit 0", "ok", "exit 1", "EBUSY", "ok", "exit 32", "ok"])
def file_systems(b: Bench) -> Answer:
    disk = b.disk("d0")
    b.make(MakeDir("/tmp/mnt"), RemoveDir("/tmp/mnt"))
    mount = ("mount", "-t", "ext4", disk, "/tmp/mnt")
    probe = ("blkid", "--probe", "--output", "value", "--match-tag", "UUID", disk)
    return [
        f"exit {b.kernel.query(probe).code}",
        b.run(*mount),
        b.run("mkfs.ext4", "-q", "-U", HOSTID, disk),
        f"exit {b.kernel.query(probe).code}",
        b.run(*mount),
        b.run("wipefs", "--all", "--quiet", disk),
        b.try_(RemoveDir("/tmp/mnt")),
        b.run("umount", "/tmp/mnt"),
        b.run("umount", "/tmp/mnt"),
        b.run("wipefs", "--all", "--quiet", disk),
    ]


# -- the virtual device ----------------------------------------------------------------------------------------


def _device(b: Bench, name: str, **changed: str) -> str:
    """A directory in nvlab's configfs with everything set."""
    base = f"{CONFIG}/nvlab/{name}"
    b.make(MakeDir(base), RemoveDir(base))
    values = {"memmap_start": "0x140000000", "memmap_size": str(17 << 20), "subnqn": f"nqn.{name}"}
    for key, value in (values | changed).items():
        b.make(Write(f"{base}/{key}", value))
    return base


@case(["EINVAL", "ENXIO", "EINVAL", "EINVAL", "ENOENT"], module=True)
def device_values_that_cannot_be(b: Bench) -> Answer:
    base = _device(b, "v0")
    return [
        b.write(f"{base}/memmap_start", "many"),
        b.write(f"{base}/cpus", "99"),
        b.write(f"{base}/cpus", "two"),
        b.write(f"{base}/block_size", "513"),
        b.write(f"{base}/colour", "blue"),
    ]


@case(["EDESTADDRREQ", "ENOSPC", "EADDRNOTAVAIL", "EFAULT", "EADDRINUSE"], module=True)
def device_regions_that_cannot_be(b: Bench) -> Answer:
    first = _device(b, "v0")
    b.make(Write(f"{first}/power", "1"), Write(f"{first}/power", "0"))
    second = _device(b, "v1")
    answers = []
    for start, size in (("0", "17M"), ("5G", "1M"), ("64G", "17M"), ("32M", "17M"), ("5G", "17M")):
        b.make(Write(f"{second}/memmap_start", start))
        b.make(Write(f"{second}/memmap_size", size))
        answers.append(b.write(f"{second}/power", "1"))
    return answers


@case(["ok", "a disk", "EBUSY", "ok", "ok", "exit 1", "ok", "no disk", ""], module=True)
def a_device_and_its_end(b: Bench) -> Answer:
    base = _device(b, "v0")
    answers = [b.write(f"{base}/power", "1")]
    found = lambda: _disk_of(b.kernel, "nqn.v0")  # noqa: E731
    b.kernel.until(lambda: bool(found()), what="the disk", deadline=120)
    answers += ["a disk", b.write(f"{base}/memmap_size", "18M"), b.write(f"{base}/read_delay", "1000")]
    answers += [b.write(f"{base}/power", "1"), b.run("rmmod", "nvlab"), b.write(f"{base}/power", "0")]
    b.kernel.until(lambda: not found(), what="its end", deadline=120)
    return [*answers, "no disk", b.kernel.read(f"{base}/pci")]


def _disk_of(kernel: Kernel, nqn: str) -> str | None:
    from nvlab.kernel.block import nvme_namespace

    return nvme_namespace(kernel, nqn, 1)


# -- wires -----------------------------------------------------------------------------------------------------


@case(["exit 2", "exit 2", "exit 2", "exit 255", "exit 1", "exit 1", "exit 1", "exit 2"])
def wires_that_cannot_be_made(b: Bench) -> Answer:
    b.wire()
    b.make(MakeFile("/run/plain"), Remove("/run/plain"))
    return [
        b.run(*pair(far="other")),
        b.run(*pair(near="other")),
        b.run(*pair("other", "other", "/run/plain")),
        b.run(*pair("other", "other", "/run/none")),
        b.run("unshare", "--net=/run/none", "true"),
        b.run("ip", "link", "del", "other"),
        b.run("ip", "link", "set", "other", "up"),
        b.run("ip", "address", "add", "198.18.0.1/30", "dev", "near"),
    ]


@case(["02:00:00:00:00:01", "1500", "198.18.0.0/30", "ok", "exit 2", "ok", "exit 1", "exit 1", "EBUSY", "no other"])
def a_wire(b: Bench) -> Answer:
    b.wire()
    b.make(MakeFile("/run/plain"), Remove("/run/plain"))
    netem = ("tc", "qdisc", "add", "dev", "{}", "root", "netem", "limit", "1000", "delay", "100us", "rate", "100mbit", "24")
    near, far = (tuple(word.format(end) for word in netem) for end in ("near", "far"))
    routes = json.loads(b.kernel.query(("ip", "-json", "-4", "route", "show", "table", "all")).out)
    answers = [b.kernel.read(f"/sys/class/net/near/{key}") for key in ("address", "mtu")]
    answers += [route["dst"] for route in routes if route["dev"] == "near" and "/" in route["dst"]]
    answers += [b.run(*near), b.run(*near), b.run(*THERE, *far)]
    answers += [b.run("nsenter", "--net=/run/plain", *far), b.run("nsenter", "--net=/run/none", *far), b.try_(Remove(FAR))]
    return [*answers, "the other" if b.kernel.exists("/sys/class/net/far") else "no other"]


@case(["EADDRNOTAVAIL", "ENOENT", "EINVAL", "ok", "EADDRINUSE", "live"])
def a_port_listens_where_its_link_is_made(b: Bench) -> Answer:
    b.wire()
    b.make(MakeFile("/run/plain"), Remove("/run/plain"))
    subsystem = b.subsystem(any_host=True)
    b.namespace(subsystem, b.disk("d0"))
    link, second = (f"{b.port(number, address='198.18.0.2')}/subsystems/nqn.t" for number in (7, 8))
    b.undo.append(Remove(link))
    made = [b.try_(Link(link, subsystem, netns=netns)) for netns in ("", "/run/none", "/run/plain", FAR)]
    used = b.try_(Link(second, subsystem, netns=FAR))
    controller = b.connected(traddr="198.18.0.2")
    return [*made, used, b.kernel.read(f"{controller}/state")]


@case(["ENETUNREACH"])
def nobody_has_that_address(b: Bench) -> Answer:
    return [b.try_(Transact("/dev/nvme-fabrics", request(traddr="198.18.0.2")))]


# -- running them ----------------------------------------------------------------------------------------------


def prepare(kernel: Kernel, module: str = "") -> None:
    """What every case needs: modules and configfs."""
    kernel.perform(Run(("modprobe", "--all", *MODULES), deadline=120))
    kernel.perform(Run(("modprobe", "null_blk", "nr_devices=0")))
    if not kernel.is_mount(CONFIG):
        kernel.perform(Run(("mount", "-t", "configfs", "configfs", CONFIG)))
    if module:
        kernel.perform(Run(("modprobe", "nvme")))
        kernel.perform(Run(("insmod", module)))


def run(kernel: Kernel, one: Case, module: str = "") -> Answer:
    """The answer of one case, everything it made removed again."""
    bench = Bench(kernel, module)
    try:
        return one.act(bench)
    finally:
        bench.clean()


def main() -> int:
    """Run all cases on this machine's kernel; exit code 1 if any answer differs."""
    from nvlab.kernel.real import RealKernel

    module = sys.argv[1] if len(sys.argv) > 1 else ""
    kernel, release, wrong = RealKernel(), os.uname().release, 0
    prepare(kernel, module)
    for one in CASES:
        if one.needs_module and not module:
            continue
        try:
            answer: Answer = run(kernel, one, module)
        except Exception as error:  # the others are still to be asked
            answer = f"{type(error).__name__}: {error}"
        good = answer == one.expected(release)
        wrong += not good
        print(
            json.dumps({"case": one.name, "good": good, "answer": answer, "expected": one.expected(release)}),
            flush=True,
        )
    if module:
        kernel.perform(Run(("rmmod", "nvlab")))
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
