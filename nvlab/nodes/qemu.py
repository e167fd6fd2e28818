# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest is made of, as a command line: pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nvlab.errors import UsageError
from nvlab.nodes.initramfs import runner
from nvlab.nodes.kernels import Image
from nvlab.units import GIB, MIB, format_size

BINARY = "qemu-system-x86_64"
PORTS = 4
_LOW_MEMORY = 2 * GIB  # q35 puts what is above it at 4 GiB, once there are 2.75 GiB or more
_SPLIT = 3 * GIB
_ROUND = 128 * MIB


@dataclass(frozen=True)
class GuestSpec:
    """What a guest must have. ``kernel``: installed release, image or build tree; ``memory``: bytes it can use.

    ``reserved``: (start, bytes) of each region hidden from its kernel (``memmap=``), at 4 GiB or above.

    ``one_thread``: emulate all CPUs in one thread. With a thread each, a CPU spins while it waits for one whose thread the host
    does not run: guests that have more CPUs than the host, side by side, are twice as fast with one thread.

    ``counted``: an emulated guest's clock counts instructions, 2 ns each, whatever the host does meanwhile. Its CPUs take turns,
    so times are of all work together: made to compare two paths exactly, not to say how they overlap.
    """

    kernel: str | None = None
    cpus: int = 4
    memory: int = 3 * GIB
    reserved: tuple[tuple[int, int], ...] = ()
    append: str = ""
    intremap: bool = False
    one_thread: bool = False
    counted: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(data: dict[str, Any]) -> GuestSpec:
        return GuestSpec(**{**data, "reserved": tuple((start, size) for start, size in data["reserved"])})

    def covers(self, other: GuestSpec) -> bool:
        """Whether a guest of this spec will do for ``other`` (kernels are compared by who resolves them)."""
        return (
            self.cpus >= other.cpus
            and self.memory >= other.memory
            and set(self.reserved) >= set(other.reserved)
            and (self.append, self.intremap, self.counted) == (other.append, other.intremap, other.counted)
        )


def total_memory(spec: GuestSpec) -> int:
    """Bytes for ``-m``: room for what the guest uses and for every reserved region where it lies."""
    for start, size in spec.reserved:
        if start < 4 * GIB or size <= 0:
            raise UsageError(
                f"a guest cannot reserve {format_size(size)} at {format_size(start)}",
                hint="its memory above 2 GiB lies at 4 GiB and up: choose a start of 4G or more",
            )
    total = spec.memory + sum(size for _, size in spec.reserved)
    if spec.reserved:
        end = max(start + size for start, size in spec.reserved)
        total = max(total, end - 4 * GIB + _LOW_MEMORY, _SPLIT)
    return -(-total // _ROUND) * _ROUND


def kernel_arguments(spec: GuestSpec) -> str:
    """The kernel command line. Reliable TSC: without it TCG guests read the HPET, an emulated device, for the time."""
    arguments = ["console=ttyS0", "earlyprintk=serial,ttyS0,115200", "loglevel=7", "panic=-1"]
    arguments += ["tsc=reliable", "clocksource=tsc"]
    # a busy host delays the first ticks, and the kernel would panic: "timer doesn't work through Interrupt-remapped IO-APIC"
    arguments.append("no_timer_check")
    # nor is a CPU locked up that such a host has taken away for a while
    arguments += ["watchdog_thresh=60", "rcupdate.rcu_cpu_stall_timeout=120", "workqueue.watchdog_thresh=150"]
    arguments += [f"memmap={format_size(size)}${format_size(start)}" for start, size in spec.reserved]
    arguments += ["intel_iommu=on"] if spec.intremap else []
    arguments += spec.append.split()
    return " ".join(arguments)


def launcher(spec: GuestSpec, image: Image, boot: Path, initrd: Path, mark: str, accel: str) -> list[str]:
    """The argv that starts the guest in its own directory: virtme-ng's runner, and our own options for QEMU.

    The runner exports this machine's root over 9p and starts QEMU, which takes the last of several ``-kernel``, ``-initrd``
    and ``-append``: so the boot is ours (initramfs.py), with no device and no driver that nobody needs.
    """
    memory = f"{total_memory(spec) // MIB}M"
    return [
        *(*runner(image), "--disable-kvm" if accel == "tcg" else "--disable-microvm", "--disable-monitor"),
        *("--name", mark, "--cpus", str(spec.cpus), "--memory", memory, "--qemu-opts"),
        *(_emulation(spec) if accel == "tcg" else ()),
        *("-kernel", str(boot), "-initrd", str(initrd), "-append", kernel_arguments(spec), "-no-reboot", "-nodefaults"),
        *("-machine", f"q35,sata=off,smbus=off{',kernel-irqchip=split' if spec.intremap and accel == 'kvm' else ''}"),
        *(("-device", "intel-iommu,intremap=on") if spec.intremap else ()),
        *(word for port in range(PORTS) for word in _port(port)),
        *("-qmp", "unix:qmp,server=on,wait=off"),
    ]


def _emulation(spec: GuestSpec) -> list[str]:
    """TCG's options. Without ERMS Linux copies and clears by words: TCG takes a turn for every byte of a ``rep movsb``."""
    return [
        *("-cpu", "max,-erms"),
        *(("-accel", "tcg,thread=single") if spec.one_thread or spec.counted else ()),
        *(("-icount", "shift=1,sleep=off") if spec.counted else ()),
    ]


def _port(number: int) -> list[str]:
    """One controller's line: a unix socket here, a virtio-serial port there. The path is relative to QEMU's directory."""
    socket = f"socket,id=nvlab{number},path=port.{number},server=on,wait=off"
    return ["-chardev", socket, "-device", f"virtserialport,chardev=nvlab{number},name=nvlab.{number}"]
