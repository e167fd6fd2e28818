# SPDX-License-Identifier: GPL-2.0-or-later
"""Virtual NVMe devices: nvlab.ko through configfs, and a stand-in module whose parameters are its one device."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from nvlab.kernel.fake.configfs import Group, Item
from nvlab.kernel.fake.modules import Params
from nvlab.kernel.fake.nvme import Controller
from nvlab.kernel.fake.tree import Attr, Device, Dir, Node, PlainDir, View, refuse
from nvlab.medium import KINDS, PARAMETERS, Parameter
from nvlab.units import parse_cpus, parse_size

if TYPE_CHECKING:
    from nvlab.kernel.fake.world import World

_REGISTERS = 1 << 20  # bytes of a controller's, at the start of a region

_DEFAULTS = {
    "kind": "nvm",
    "memmap_start": "0",
    "memmap_size": "0",
    "cpus": "",
    "controllers": "1",
    "block_size": "512",
    "vwc": "0",
    "serial": "",
    "model": "nvlab",
    "subnqn": "",
    "read_delay": "0",
    "read_time": "0",
    "write_delay": "0",
    "write_time": "0",
    "nr_io_units": "8",
    "io_unit_shift": "12",
    "seed": "0",
    "trace": "0",
    "trace_lossless": "0",
    "keep": "0",
}
_RULE = {
    "action": "status",
    "opcode": "any",
    "nsid": "0",
    "slba": "0",
    "nlb": "0",
    "queue": "0",
    "controller": "0",
    "count": "0",
    "every": "1",
    "chance": "1000000",
    "status": "0",
    "delay": "0",
}
_ACTIONS = {"status", "delay", "drop", "corrupt", "fatal", "read-only", "link-loss"}
_OPCODES = {"any", "read", "write", "flush", "write-zeroes", "dsm"}
_MAX_RULES = 32
_LIVE = {"read_delay", "read_time", "write_delay", "write_time"}  # changeable while the device is on


@dataclass
class Drive:
    """A device that is on: its region, the PCI function of each of its controllers by address, with the driver's controller while
    that is bound, and what is written on it.
    """

    start: int
    size: int
    nqn: str
    serial: str
    functions: dict[str, Controller | None]
    marks: dict[str, str]
    keys: bool = False

    @property
    def capacity(self) -> int:
        return self.size - len(self.functions) * _REGISTERS


class VirtualNvme:
    """All virtual devices, and the modules that make them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._group = Group(self._make, self._drop)
        self._group.put("blackout", Attr(None, self._black_out))
        self.regions: dict[int, dict[str, str]] = {}  # what the reserved memory from an address on holds, power or not
        self._on: dict[str, Drive] = {}
        self._held: set[str] = set()
        world.modules.pin("nvlab", lambda: any(isinstance(child, Item) for child in self._group.children().values()))

    def load_file(self, stem: str, params: Params) -> None:
        """init_module of nvlab.ko, or of any other file: a module that NVMeVirt's parameters give one device."""
        modules = self._world.modules
        if stem == "nvlab":
            modules.on("nvlab", self._load, self._unload)
        else:
            modules.on(stem, lambda p: self._stand_in(stem, p), lambda: self._power_off(stem))
        modules.insert(stem, params)

    def _load(self, params: Params) -> None:
        if "configfs" not in self._world.modules.loaded:
            self._world.say("nvlab: Unknown symbol config_group_init (err -2)")
            raise refuse(errno.ENOENT)
        if params:
            self._stand_in("nvlab", params)
        self._world.configfs.register("nvlab", self._group)

    def _unload(self) -> None:
        self._world.configfs.unregister("nvlab")
        self._power_off("nvlab")

    def _stand_in(self, stem: str, params: Params) -> None:
        _cpus_exist(params.get("cpus", ""), self._world.cpus)
        self._power_on(stem, parse_size(params["memmap_start"]), parse_size(params["memmap_size"]), f"nqn:{stem}", stem)

    def _make(self, name: str) -> Item:
        item = Item()
        values = dict(_DEFAULTS)
        for key in values:
            item.put(key, self._setting(name, values, key))
        item.put("medium", Dir({row.name: self._parameter(name, row) for row in PARAMETERS.values()}))
        rules = Group(lambda _: self._make_rule(rules))
        item.put("faults", rules)
        item.put("hold", Attr(lambda: str(int(name in self._held)), lambda text: self._hold(name, text)))
        item.put("pci", Attr(lambda: "\n".join(self._on[name].functions) if name in self._on else ""))
        item.put("cut", Attr(None, lambda text: self._cut(name, text)))
        item.put("power", Attr(lambda: str(int(name in self._on)), lambda text: self._power(name, values, text)))
        return item

    def _make_rule(self, rules: Group) -> Item:
        if len(rules.children()) == _MAX_RULES:
            raise refuse(errno.ENOSPC)
        item, values, on = Item(), dict(_RULE), [False]
        for key in values:
            item.put(key, _rule_attribute(values, on, key))
        item.put("hits", Attr("0"))
        item.put("enable", Attr(lambda: str(int(on[0])), lambda text: on.__setitem__(0, _switched(values, text))))
        return item

    def _setting(self, name: str, values: dict[str, str], key: str) -> Attr:
        def store(text: str) -> None:
            if name in self._on and key not in _LIVE:
                raise refuse(errno.EBUSY)
            values[key] = self._checked(key, text.strip())

        return Attr(lambda: values[key], store)

    def _parameter(self, device: str, parameter: Parameter) -> Attr:
        value = [parameter.initial]

        def store(text: str) -> None:
            number = _number(text.strip())
            if not parameter.low <= number <= parameter.high:
                raise refuse(errno.ERANGE)
            if device in self._on and not parameter.live:
                raise refuse(errno.EBUSY)
            value[0] = number

        return Attr(lambda: str(value[0]), store)

    def _checked(self, key: str, value: str) -> str:
        """The value as the attribute shows it. Raises EINVAL, ENXIO."""
        try:
            if key.startswith("memmap_"):
                return str(_number(value))
            if key == "cpus":
                _cpus_exist(value, self._world.cpus)
            if key == "kind" and value not in KINDS:
                raise refuse(errno.EINVAL)
            if key == "block_size" and value not in ("512", "4096"):
                raise refuse(errno.EINVAL)
        except ValueError:
            raise refuse(errno.EINVAL) from None
        return value

    def _power(self, name: str, values: dict[str, str], text: str) -> None:
        if text.strip() not in ("0", "1"):
            raise refuse(errno.EINVAL)
        if text.strip() == "0":
            self._power_off(name)
        elif name not in self._on:
            start, size = int(values["memmap_start"]), int(values["memmap_size"])
            if values["keep"] == "0":
                self.regions.pop(start, None)
            self._power_on(name, start, size, values["subnqn"], values["serial"], int(values["controllers"]), values["kind"])

    def _black_out(self, text: str) -> None:
        """Devices fall silent, which nobody can see here."""
        if text.strip() != "1":
            raise refuse(errno.EINVAL)

    def _cut(self, name: str, text: str) -> None:
        """The link is lost at once; when the drive has recovered, the driver finds it anew."""
        if text.strip() != "1" or name not in self._on:
            raise refuse(errno.EINVAL)
        drive = self._on[name]
        for address, controller in drive.functions.items():
            drive.functions[address] = None
            if controller:
                self._world.nvme.remove(controller)
        self._world.later(self.bind)

    def _hold(self, name: str, text: str) -> None:
        """What it holds can be read and written while its power is off; here only the node of it is."""
        if text.strip() == "1":
            self._held.add(name)
        else:
            self._held.discard(name)
        self._show_state(name)

    def _show_state(self, name: str) -> None:
        nodes = self._world.tree.ensure("/dev", PlainDir)
        there = name in self._held or name in self._on
        if there and f"nvlab-state-{name}" not in nodes.children():
            nodes.put(f"nvlab-state-{name}", Device("char", f"nvlab-state-{name}"))
        elif not there and f"nvlab-state-{name}" in nodes.children():
            nodes.take(f"nvlab-state-{name}")

    def _power_on(
        self, name: str, start: int, size: int, nqn: str, serial: str, controllers: int = 1, kind: str = "nvm"
    ) -> None:
        self._check_region(start, size, controllers)
        taken = {address for drive in self._on.values() for address in drive.functions}
        free = (a for a in (f"{n:04x}:00:00.0" for n in range(0x1000, 0x2000)) if a not in taken)
        marks = self.regions.setdefault(start, {})
        functions = dict.fromkeys(islice(free, controllers))
        drive = self._on[name] = Drive(start, size, nqn, serial, functions, marks, kind == "kv")
        self._show_state(name)
        for n, address in enumerate(drive.functions):
            self._show(drive, address, start + n * _REGISTERS)
        if "nvme" in self._world.modules.loaded:
            self._world.later(self.bind)  # the driver probes in a work item of its own

    def _show(self, drive: Drive, address: str, bar: int) -> None:
        def bound() -> dict[str, Node]:
            controller = drive.functions[address]
            return {controller.name: Dir()} if controller else {}

        resource = f"{bar:#018x} {bar + _REGISTERS - 1:#018x} 0x0000000000040200"
        function = Dir({"resource": Attr(resource), "nvme": View(bound)})
        self._world.tree.ensure("/sys/bus/pci/devices").put(address, function)

    def _check_region(self, start: int, size: int, controllers: int) -> None:
        """Raises what nvl_region_check() and nvl_reserve_take() do."""
        if not start or not size:
            raise refuse(errno.EDESTADDRREQ)
        if size <= controllers * _REGISTERS:
            raise refuse(errno.ENOSPC)
        if start < self._world.memory:
            self._world.say(f"nvlab: [mem {start:#x}] is RAM")
            raise refuse(errno.EFAULT)
        if not any(s <= start and start + size <= s + n for s, n in self._world.reserved):
            self._world.say(f"nvlab: [mem {start:#x}] is not reserved")
            raise refuse(errno.EADDRNOTAVAIL)
        if any(f.start < start + size and start < f.start + f.size for f in self._on.values()):
            self._world.say(f"nvlab: [mem {start:#x}] overlaps another device")
            raise refuse(errno.EADDRINUSE)

    def bind(self) -> None:
        """The nvme driver probes what it finds unbound."""
        nvme = self._world.nvme
        for drive in self._on.values():
            for address in [address for address, bound in drive.functions.items() if bound is None]:
                first = next(filter(None, drive.functions.values()), None)
                identity = {"serial": drive.serial, "model": "nvlab"}
                made = Controller(nvme.next_instance(), "pcie", address, drive.nqn, identity, "nvme", first=first)
                drive.functions[address] = made
                nvme.add(made)
                if not first and drive.keys:
                    nvme.add_generic(made, 1)
                elif not first:
                    nvme.add_namespace(made, 1, drive.capacity, marks=drive.marks)

    def unbind(self) -> None:
        """The nvme driver goes."""
        for drive in self._on.values():
            self._release(drive)

    def _release(self, drive: Drive) -> None:
        for address, controller in reversed(drive.functions.items()):
            if controller:
                self._world.nvme.remove(controller)
                drive.functions[address] = None

    def _power_off(self, name: str) -> None:
        drive = self._on.pop(name, None)
        if drive:
            self._release(drive)
            for address in drive.functions:
                self._world.tree.ensure("/sys/bus/pci/devices").take(address)
        self._show_state(name)

    def _drop(self, name: str) -> None:
        self._power_off(name)
        self._held.discard(name)
        self._show_state(name)


def _rule_attribute(values: dict[str, str], on: list[bool], key: str) -> Attr:
    def store(text: str) -> None:
        known = {"action": _ACTIONS, "opcode": _OPCODES}.get(key)
        if on[0]:
            raise refuse(errno.EBUSY)
        if text not in known if known else not text.isdigit():
            raise refuse(errno.EINVAL)
        values[key] = text

    return Attr(lambda: values[key], store)


def _switched(values: dict[str, str], text: str) -> bool:
    """Whether a rule is on after ``text`` was written. Raises EINVAL for one that lacks what its action needs."""
    if text not in ("0", "1") or (text == "1" and values.get(values["action"]) == "0"):
        raise refuse(errno.EINVAL)
    return text == "1"


def _number(text: str) -> int:
    return int(text, 16) if text.startswith("0x") else parse_size(text)


def _cpus_exist(text: str, cpus: int) -> None:
    if any(cpu >= cpus for cpu in (parse_cpus(text) if text else ())):
        raise refuse(errno.ENXIO)
