# SPDX-License-Identifier: GPL-2.0-or-later
"""Every verb against its golden text: exactly which commands and writes it makes, and which ones undo it.

``NVLAB_GOLDEN=write pytest tests/unit/test_adapters.py`` writes the texts anew; read the difference before committing it.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import nvlab.kernel
from nvlab.kernel.ops import Op
from nvlab.kernel.verb import SharedVerb, Verb, verb

GOLDEN = Path(__file__).parent / "golden/verbs"
UUID = "6f9d1f6e-27c4-5b0e-9c55-3f6d0b1c8a11"
MD_UUID = "6f9d1f6e:27c45b0e:9c553f6d:0b1c8a11"

NULL_BLK = {"name": "nvlab-lab-pool", "attributes": {"size": 128, "memory_backed": 1, "completion_nsec": 4000000}}
DEVICE = {
    "name": "nvlab-lab-log",
    "attributes": {"memmap_start": "0x140000000", "memmap_size": 17 << 20, "subnqn": "nqn.d", "cpus": "2-3"},
}
KEYS = DEVICE | {"attributes": {**DEVICE["attributes"], "kind": "kv"}}
STAND_IN = {
    "path": "/opt/nvmev.ko",
    "name": "nvmev",
    "start": 5 << 30,
    "params": {"memmap_start": 5 << 30, "memmap_size": 17 << 20, "cpus": "2,3"},
}
ARRAY = {"name": "nvlab-lab-md", "uuid": MD_UUID, "number": 0, "members": ["/dev/a", "/dev/b", "/dev/c"]}
JOURNALLED = ARRAY | {"level": 5, "journal": "/dev/j", "mode": "write-back", "assume_clean": True, "chunk": 64}
WIRE = {
    "interface": "nvlab-lab-w",
    "netns": "/run/nvlab/net/nvlab-lab-w",
    "macs": ["02:00:00:00:00:01", "02:00:00:00:00:02"],
    "network": "198.18.0.4/30",
    "mtu": 1500,
    "delay": 100,
    "rate": 1000,
    "offload": False,
}
PORT = {"traddr": "127.0.0.1", "trsvcid": "4420", "number": 1}
TARGET = {"nqn": "nqn.t"}
CONNECT = {
    "traddr": "127.0.0.1",
    "trsvcid": "4420",
    "nqn": "nqn.t",
    "hostnqn": "nqn.h",
    "hostid": UUID,
    "nsid": 1,
    "options": {"queue_size": 128, "ctrl_loss_tmo": 30},
    "queues": 2,
}
UNITS = ("x.socket", "x.service")
TUNED = {"/sys/a": "performance", "/sys/b": "1"}

# case -> verb, arguments as the journal has them, what was found
CASES: dict[str, tuple[str, Mapping[str, Any], Mapping[str, str]]] = {
    "module.load": (
        "module.load",
        {"modules": {"nvmet": {}, "null_blk": {"nr_devices": 0}}, "chain": ["nvmet"], "before": []},
        {},
    ),
    "module.insert": ("module.insert", {"path": "/x/nvlab.ko"}, {}),
    "mount.configfs": ("mount.configfs", {}, {}),
    "mount.filesystem": ("mount.filesystem", {"type": "ext4", "dev": "/dev/a", "at": "/run/m"}, {"mounted": "yes"}),
    "mount.filesystem half": ("mount.filesystem", {"type": "ext4", "dev": "/dev/a", "at": "/run/m"}, {}),
    "nullblk.create": ("nullblk.create", NULL_BLK, {"dev": "/dev/nvlab-lab-pool"}),
    "nullblk.create half": ("nullblk.create", NULL_BLK, {}),
    "brd.load": ("brd.load", {"size": 64 << 20, "keys": [""]}, {"dev": "/dev/ram0"}),
    "loop.attach": ("loop.attach", {"file": "/var/lib/nvlab/disks/a.img", "size": 1 << 20}, {"dev": "/dev/loop3"}),
    "loop.attach half": ("loop.attach", {"file": "/var/lib/nvlab/disks/a.img", "size": 1 << 20}, {}),
    "disk.claim": (
        "disk.claim",
        {"path": "/dev/disk/by-id/x", "disk": "sdb", "owner": "disk.a of lab lab", "wipe": ""},
        {},
    ),
    "disk.claim wipe": ("disk.claim", {"path": "/dev/disk/by-id/x", "disk": "sdb", "owner": "o", "wipe": "SERIAL"}, {}),
    "gpt.partition": (
        "gpt.partition",
        {"dev": "/dev/a1", "guid": UUID, "part_guid": UUID, "node": "/dev/a1p1"},
        {"name": "a1p1", "dev": "/dev/a1p1"},
    ),
    "md.ignore": ("md.ignore", {"name": "nvlab-lab-md", "uuid": MD_UUID}, {}),
    "md.create": ("md.create", JOURNALLED, {"name": "md0", "dev": "/dev/md0", "marked": "/dev/a /dev/b /dev/c /dev/j"}),
    "md.create plain": ("md.create", ARRAY | {"level": 1, "journal": ""}, {"bare": "md0", "marked": "/dev/a"}),
    "md.create superblocks only": ("md.create", ARRAY | {"level": 0}, {"marked": "/dev/b"}),
    "md.assemble": ("md.assemble", JOURNALLED, {"name": "md0", "dev": "/dev/md0", "marked": ""}),
    "dm.create": (
        "dm.create",
        {"name": "c", "uuid": "NVLAB-1", "table": "0 8 linear /dev/a 0"},
        {"name": "dm-0", "dev": "/dev/mapper/c"},
    ),
    "rapiddisk.attach": ("rapiddisk.attach", {"size": 64 << 20, "number": 0}, {}),
    "filesystem.make ext4": ("filesystem.make", {"type": "ext4", "dev": "/dev/a", "uuid": UUID}, {}),
    "filesystem.make xfs": ("filesystem.make", {"type": "xfs", "dev": "/dev/a", "uuid": UUID}, {}),
    "device.create": ("device.create", DEVICE, {"dev": "/dev/nvme0n1"}),
    "device.create half": ("device.create", DEVICE, {"pci": ""}),
    "device.create keys": ("device.create", KEYS, {"dev": "/dev/ng0n1"}),
    "device.create aged": ("device.create", DEVICE | {"state": "/home/me/aged.snap"}, {"dev": "/dev/nvme0n1"}),
    "device.restore": ("device.restore", DEVICE | {"image": "/run/log"}, {"dev": "/dev/nvme0n1"}),
    "device.fault": (
        "device.fault",
        {"device": "nvlab-lab-log", "name": "slow", "attributes": {"action": "delay", "delay": 20_000_000}, "enable": 1},
        {},
    ),
    "device.stand-in": ("device.stand-in", STAND_IN, {"dev": "/dev/nvme0n1"}),
    "nvmet.host": ("nvmet.host", {"nqn": "nqn.h"}, {}),
    "nvmet.subsystem": (
        "nvmet.subsystem",
        TARGET | {"attributes": {"serial": "S", "model": "nvlab"}, "hosts": ["nqn.h"]},
        TARGET,
    ),
    "nvmet.subsystem open": (
        "nvmet.subsystem",
        TARGET | {"attributes": {}, "hosts": [], "allow_any_host": True},
        TARGET,
    ),
    "nvmet.namespace": ("nvmet.namespace", TARGET | {"nsid": 1, "device": "/dev/a", "uuid": UUID, "nguid": UUID}, {}),
    "nvmet.port": ("nvmet.port", PORT, {"number": "1"}),
    "nvmet.port ipv6": ("nvmet.port", PORT | {"traddr": "::1"}, {"number": "1"}),
    "nvmet.expose": ("nvmet.expose", TARGET | {"port": "1"}, {}),
    "nvmet.expose over a wire": ("nvmet.expose", TARGET | {"port": "1", "netns": WIRE["netns"]}, {}),
    "wire.create": ("wire.create", WIRE, {"mounted": "yes", "interface": "nvlab-lab-w"}),
    "wire.create half": ("wire.create", WIRE | {"rate": 0}, {"mounted": "yes"}),
    "wire.create plain": ("wire.create", WIRE | {"delay": 0, "rate": 0, "offload": True}, {}),
    "tune.set": ("tune.set", {"wanted": TUNED, "was": {"/sys/a": "powersave", "/sys/b": "1"}}, {}),
    "tune.swap": (
        "tune.swap",
        {"wanted": dict.fromkeys(("/dev/a", "/b", "/c d"), "off"), "was": {"/dev/a": "-3", "/b": "7", "/c d": "-2"}},
        {},
    ),
    "tune.stop": (
        "tune.stop",
        {"wanted": dict.fromkeys(UNITS, "stopped"), "was": dict.fromkeys(UNITS, "running")},
        {},
    ),
    "fabrics.connect": ("fabrics.connect", CONNECT, {"controller": "nvme1", "dev": "/dev/nvme1n1"}),
}


def undo(body: Verb, args: Mapping[str, Any], made: Mapping[str, str]) -> Sequence[Op]:
    if isinstance(body, SharedVerb):
        return body.release(args, body.keys(args)[::-1])
    return body.unmake(args, dict(made))


@pytest.mark.parametrize("case", CASES)
def test_what_a_verb_does_and_undoes(case):
    name, args, made = CASES[case]
    body = verb(name)
    lines = [f"+ {op.shell()}" for op in body.make(args)] + [f"- {op.shell()}" for op in undo(body, args, made)]
    golden = GOLDEN / f"{case.replace(' ', '-')}.txt"
    if os.environ.get("NVLAB_GOLDEN") == "write":
        golden.write_text("\n".join(lines) + "\n")
    assert "\n".join(lines) + "\n" == golden.read_text()


def every_verb() -> set[str]:
    modules = (importlib.import_module(f"nvlab.kernel.{m.name}") for m in pkgutil.iter_modules(nvlab.kernel.__path__))
    return {body.name for module in modules for body in getattr(module, "VERBS", ())}


def test_no_verb_is_without_a_golden_text():
    assert every_verb() == {name for name, _, _ in CASES.values()}


def test_no_golden_text_is_without_a_verb():
    assert {path.stem for path in GOLDEN.glob("*.txt")} == {case.replace(" ", "-") for case in CASES}


def test_a_shared_verb_removes_only_the_keys_it_is_given():
    for case, (name, args, _) in CASES.items():
        body = verb(name)
        if isinstance(body, SharedVerb):
            assert list(body.release(args, [])) == [], case


def test_nothing_is_forced_and_nothing_is_removed_by_a_pattern():
    for name, args, made in CASES.values():
        body = verb(name)
        text = "\n".join(op.shell() for op in (*body.make(args), *undo(body, args, made)))
        assert not any(word in text for word in ("--force", "*", "remove_all", "--scan", "nvmetcli", "rm -r"))
