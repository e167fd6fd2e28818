# SPDX-License-Identifier: GPL-2.0-or-later
"""What of a machine is tuned for measurements: CPU attributes, the loopback's MTU, the clock source, swap, units of systemd."""

from __future__ import annotations

import errno
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from nvlab.kernel.fake.argv import Exit, read
from nvlab.kernel.fake.tree import Attr, refuse

if TYPE_CHECKING:
    from nvlab.kernel.fake.world import World


class Settings:
    """There is none of it, as in an emulated guest without swap, until a test furnishes it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.swaps: dict[str, int] = {}  # path -> priority
        self.used = 0  # bytes that are swapped out
        self.available = 1 << 30
        self.running: set[str] = set()  # units
        proc = world.tree.ensure("/proc")
        proc.put("swaps", Attr(self._show_swaps))
        proc.put("meminfo", Attr(lambda: f"MemTotal: {world.memory >> 10} kB\nMemAvailable: {self.available >> 10} kB"))

    def provide(self, path: str, value: str, takes: Collection[str]) -> None:
        """An attribute of sysfs that takes only these values."""
        directory, _, name = path.rpartition("/")
        state = [value]

        def store(text: str) -> None:
            if text.strip() not in takes:
                raise refuse(errno.EINVAL)
            state[0] = text.strip()

        self.world.tree.ensure(directory).put(name, Attr(lambda: state[0], store))

    def swap_on(self, path: str, priority: int | None = None) -> None:
        """swapon(2): without a priority a swap gets one below all others that got theirs so."""
        disk = self.world.disks.at(path)
        if "swap" not in disk.marks:
            raise refuse(errno.EINVAL, path)
        disk.take("swap")
        self.swaps[path] = min([-1, *self.swaps.values()]) - 1 if priority is None else priority

    def swap_off(self, path: str) -> None:
        if path not in self.swaps:
            raise refuse(errno.EINVAL, path)
        if self.used > self.available:
            raise refuse(errno.ENOMEM, path)
        self.world.disks.at(path).release("swap")
        gone = self.swaps.pop(path)
        if gone < 0:  # those below it move up (mm/swapfile.c, swapoff)
            self.swaps |= {name: at + 1 for name, at in self.swaps.items() if at < gone}

    def _show_swaps(self) -> str:
        rows = [f"{path} partition 65532 {self.used >> 10} {priority}" for path, priority in sorted(self.swaps.items())]
        return "\n".join(["Filename Type Size Used Priority", *rows])


def swapon(world: World, argv: Sequence[str]) -> str:
    words = read(argv, values=("--priority",))
    (path,) = words.rest
    given = words.values.get("--priority")
    try:
        world.settings.swap_on(path, None if given is None else int(given))
    except OSError as error:
        raise Exit(255, f"swapon: {path}: swapon failed: {error.strerror}") from None
    return ""


def swapoff(world: World, argv: Sequence[str]) -> str:
    (path,) = read(argv).rest
    try:
        world.settings.swap_off(path)
    except OSError as error:
        raise Exit(4, f"swapoff: {path}: swapoff failed: {error.strerror}") from None
    return ""


def systemctl(world: World, argv: Sequence[str]) -> str:
    verb, *units = read(argv).rest
    running = world.settings.running
    if verb == "is-active":
        return "active\n" if units[0] in running else "inactive\n"
    for unit in units:
        (running.add if verb == "start" else running.discard)(unit)
        world.tick(f"systemctl {verb}: {unit} is done")
    return ""
