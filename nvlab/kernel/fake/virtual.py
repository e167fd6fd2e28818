# SPDX-License-Identifier: GPL-2.0-or-later
"""Virtual NVMe devices: nvlab.ko through configfs, and a stand-in module whose parameters are its one device."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nvlab.kernel.fake.configfs import Group, Item
from nvlab.kernel.fake.modules import Params
from nvlab.kernel.fake.nvme import Controller
from nvlab.kernel.fake.tree import Attr, Dir, View, refuse
from nvlab.medium import KINDS, PARAMETERS, Parameter
from nvlab.units import parse_cpus, parse_size

if TYPE_CHECKING:
    from nvlab.kernel.fake.world import World

_REGISTERS = 1 << 20  # bytes at the start of a region

_DEFAULTS = {
    "kind": "nvm",
    "memmap_start": "0",
    "memmap_size": "0",
    "cpus": "",
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
}
_RULE = {
    "action": "status",
    "opcode": "any",
    "nsid": "0",
    "slba": "0",
    "nlb": "0",
    "queue": "0",
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
class Function:
    """One PCI function with its region; ``controller`` while the nvme driver is bound."""

    address: str
    start: int
    size: int
    nqn: str
    serial: str
    controller: Controller | None = None


class VirtualNvme:
    """All virtual devices, and the modules that make them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._group = Group(self._make, self._drop)
        self._on: dict[str, Function] = {}
        world.modules.pin("nvlab", lambda: bool(self._group.children()))

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
        item.put("pci", Attr(lambda: self._on[name].address if name in self._on else ""))
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
            self._power_on(name, start, size, values["subnqn"], values["serial"])

    def _power_on(self, name: str, start: int, size: int, nqn: str, serial: str) -> None:
        self._check_region(start, size)
        taken = {f.address for f in self._on.values()}
        address = next(a for a in (f"{n:04x}:00:00.0" for n in range(0x1000, 0x2000)) if a not in taken)
        function = self._on[name] = Function(address, start, size, nqn, serial)
        bound = View(lambda: {function.controller.name: Dir()} if function.controller else {})
        resource = f"{start:#018x} {start + _REGISTERS - 1:#018x} 0x0000000000040200"
        self._world.tree.ensure("/sys/bus/pci/devices").put(address, Dir({"resource": Attr(resource), "nvme": bound}))
        if "nvme" in self._world.modules.loaded:
            self._world.later(self.bind)  # the driver probes in a work item of its own

    def _check_region(self, start: int, size: int) -> None:
        """Raises what nvl_region_check() and nvl_region_map() do."""
        if not start or not size:
            raise refuse(errno.EDESTADDRREQ)
        if size <= _REGISTERS:
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
        for function in self._on.values():
            if function.controller is None:
                identity = {"serial": function.serial, "model": "nvlab"}
                controller = Controller(nvme.next_instance(), "pcie", function.address, function.nqn, identity, "nvme")
                function.controller = controller
                nvme.add(controller)
                nvme.add_namespace(controller, 1, function.size - _REGISTERS)

    def unbind(self) -> None:
        """The nvme driver goes."""
        for function in self._on.values():
            self._release(function)

    def _release(self, function: Function) -> None:
        if function.controller:
            self._world.nvme.remove(function.controller)
            function.controller = None

    def _power_off(self, name: str) -> None:
        function = self._on.pop(name, None)
        if function:
            self._release(function)
            self._world.tree.ensure("/sys/bus/pci/devices").take(function.address)

    def _drop(self, name: str) -> None:
        self._power_off(name)


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
