# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernel modules: dependencies, parameters, what keeps one loaded, and what happens at load and unload."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from nvlab.kernel.fake.tree import Attr, Dir, File, PlainDir, refuse

if TYPE_CHECKING:
    from nvlab.kernel.fake.world import World

Params = dict[str, str]

# What each module needs, as Debian's 6.1 has it; long chains are cut to the modules that matter for order.
DEPENDS: dict[str, tuple[str, ...]] = {
    "configfs": (),
    "nvmet": ("configfs", "crc64_rocksoft"),
    "nvmet_tcp": ("nvmet",),
    "crc64_rocksoft": (),
    "crc64_rocksoft_generic": (),
    "nvme_core": ("crc64_rocksoft",),
    "nvme": ("nvme_core",),
    "nvme_fabrics": ("nvme_core",),
    "nvme_tcp": ("nvme_fabrics",),
    "md_mod": (),
    "raid0": ("md_mod",),
    "raid1": ("md_mod",),
    "raid10": ("md_mod",),
    "libcrc32c": (),
    "raid6_pq": (),
    "async_tx": (),
    "raid456": ("libcrc32c", "raid6_pq", "async_tx", "md_mod"),
    "loop": (),
    "brd": (),
    "null_blk": ("configfs",),
    "dm_mod": (),
    "dm_bufio": ("dm_mod",),
    "dm_persistent_data": ("libcrc32c", "dm_bufio"),
    "dm_cache": ("dm_persistent_data",),
    "dm_cache_smq": ("dm_cache",),
    "dm_writecache": ("dm_mod",),
    "dm_delay": ("dm_mod",),
    "veth": (),
    "sch_netem": (),
    "rapiddisk": (),
    "rapiddisk_cache": ("dm_mod",),
    "jbd2": (),
    "ext4": ("jbd2",),
    "xfs": ("libcrc32c",),
}

# What a module asks for by alias when it starts, and holds from then on; no dependency says so.
ASKS_FOR = {"crc64_rocksoft": "crc64_rocksoft_generic"}
_ALGORITHMS = {"crc64_rocksoft": "lib", "crc64_rocksoft_generic": "crypto", "libcrc32c": "lib", "raid6_pq": "lib"}


class Modules:
    """The loaded modules, and the files that insmod can load."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._tree = world.tree
        self.loaded: dict[str, Params] = {}
        self.missing: set[str] = set()  # modules this kernel does not have
        self._loaders: dict[str, Callable[[Params], None]] = {}
        self._unloaders: dict[str, Callable[[], None]] = {}
        self._pins: dict[str, list[Callable[[], bool]]] = {}
        self.parameters: dict[str, dict[str, Attr]] = {}  # module -> parameters that do something when written
        world.tree.ensure("/proc").put(
            "modules", Attr(lambda: "\n".join(f"{m} 16384 0 - Live" for m in reversed(self.loaded)))
        )
        for asking, asked in ASKS_FOR.items():
            self.pin(asked, lambda a=asking: a in self.loaded)  # type: ignore[misc]

    def on(self, name: str, load: Callable[[Params], None], unload: Callable[[], None]) -> None:
        """What happens when ``name`` is loaded (may raise) and unloaded."""
        self._loaders[name], self._unloaders[name] = load, unload

    def pin(self, name: str, condition: Callable[[], bool]) -> None:
        """``name`` stays in use while ``condition()``."""
        self._pins.setdefault(name, []).append(condition)

    def provide(self, path: str) -> None:
        """Put a module file where insmod will find it."""
        self._tree.ensure(str(PurePosixPath(path).parent), PlainDir).put(PurePosixPath(path).name, File("ELF"))

    def chain(self, name: str) -> list[str]:
        """``name`` with everything it needs, in load order. Raises ENOENT for a module this kernel does not have."""
        name = name.replace("-", "_")
        if name not in DEPENDS or name in self.missing:
            raise refuse(errno.ENOENT, name)
        order: list[str] = []
        for needed in DEPENDS[name]:
            order += [m for m in self.chain(needed) if m not in order]
        return [*order, name]

    def probe(self, name: str, params: Params) -> None:
        """modprobe: what is loaded already is left as it is."""
        for module in self.chain(name):
            if module not in self.loaded:
                self.insert(module, params if module == name.replace("-", "_") else {})
                self._world.tick(f"modprobe {name}: {module} is in")

    def request(self, name: str) -> bool:
        """request_module: the kernel asks for it itself; whether it is there now."""
        try:
            self.probe(name, {})
        except OSError:
            return False
        return True

    def insert(self, name: str, params: Params) -> None:
        """init_module. Raises EEXIST, ENOENT for a missing dependency, and what its own init says."""
        if name in self.loaded:
            raise refuse(errno.EEXIST, name)
        if any(d not in self.loaded for d in DEPENDS.get(name, ())):
            raise refuse(errno.ENOENT, name)
        self.loaded[name] = params
        try:
            if name in self._loaders:
                self._loaders[name](params)
        except OSError:
            del self.loaded[name]
            raise
        values = {key: Attr(value) for key, value in params.items()} | self.parameters.get(name, {})
        refcnt = Attr(lambda: str(int(self.busy(name))))
        shown = Dir({"initstate": Attr("live"), "refcnt": refcnt, "parameters": Dir(values)})
        self._tree.ensure("/sys/module").put(name, shown)
        if name in ASKS_FOR:
            self.request(ASKS_FOR[name])

    def busy(self, name: str) -> bool:
        """Whether something keeps the module: another module, an open disk, an object."""
        dependents = (m for m in self.loaded if name in DEPENDS.get(m, ()))
        disks = (d for d in self._world.disks.all.values() if d.module == name and d.whole is None)
        return (
            any(True for _ in dependents)
            or any(d.busy for d in disks)
            or any(condition() for condition in self._pins.get(name, ()))
        )

    def remove(self, name: str) -> None:
        """delete_module. Raises ENOENT, EWOULDBLOCK while in use."""
        if name not in self.loaded:
            raise refuse(errno.ENOENT, name)
        if self.busy(name):
            raise refuse(errno.EWOULDBLOCK, name)
        if name in self._unloaders:
            self._unloaders[name]()
        del self.loaded[name]
        self._tree.ensure("/sys/module").take(name)

    def file(self, name: str) -> str:
        """Where the module's file is."""
        return f"/lib/modules/{self._world.release}/kernel/{_ALGORITHMS.get(name, 'drivers')}/{name}.ko"

    def listing(self) -> dict[str, Params]:
        return {name: dict(params) for name, params in sorted(self.loaded.items())}


def parse(words: Sequence[str]) -> Params:
    """``name=value`` words as modprobe and insmod take them."""
    return {key: value for key, _, value in (word.partition("=") for word in words)}


def number(params: Mapping[str, str], key: str, default: int) -> int:
    """A numeric parameter."""
    return int(params.get(key, default))
