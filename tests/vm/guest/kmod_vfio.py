# SPDX-License-Identifier: GPL-2.0-or-later
"""The controller handed to a user-space driver by vfio-pci, without an IOMMU, and given back to the nvme driver."""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import mmap
import os
import struct
from pathlib import Path

from kmod_common import check, disk, equal, load_first, main, parser, pci, read, run, unload, wait_for, write
from kmod_rings import ALL, CAP, CSTS, PAGE, RDY, VS, Bare, Memory, lba

# linux/vfio.h
GET_API_VERSION, CHECK_EXTENSION, SET_IOMMU, GROUP_GET_STATUS, SET_CONTAINER, GET_DEVICE, REGION_INFO = (
    0x3B64, 0x3B65, 0x3B66, 0x3B67, 0x3B68, 0x3B6A, 0x3B6C)
NOIOMMU, VIABLE, CONFIG_REGION, COMMAND = 8, 1, 7, 4


class Vfio(Bare):
    """The function, by vfio-pci instead of sysfs."""

    def __init__(self) -> None:
        self.pci = pci()
        self.bind("vfio-pci")
        self.mem = Memory()
        self.open()
        size, offset = self.region(0)
        equal("BAR0", size, 1 << 20)
        self.map = mmap.mmap(self.file, size, offset=offset)
        self.regs = (ctypes.c_uint32 * (size // 4)).from_buffer(self.map)
        self.command(6)
        equal("disable, as the driver left it shut down", self.disable(), True)

    def bind(self, driver: str) -> None:
        """Take it from its driver and give it to another."""
        equal("unbind", write(self.pci / "driver" / "unbind", self.pci.name), 0)
        write(self.pci / "driver_override", driver)
        equal(f"bind {driver}", write(Path("/sys/bus/pci/drivers_probe"), self.pci.name), 0)
        equal(f"{driver} has it", (self.pci / "driver").resolve().name, driver)

    def open(self) -> None:
        """Container, group, device."""
        group = (self.pci / "iommu_group").resolve().name
        node = Path("/dev/vfio") / f"noiommu-{group}"
        wait_for(str(node), node.exists)
        self.container, self.group = os.open("/dev/vfio/vfio", os.O_RDWR), os.open(node, os.O_RDWR)
        equal("API", fcntl.ioctl(self.container, GET_API_VERSION), 0)
        equal("no IOMMU is on offer", fcntl.ioctl(self.container, CHECK_EXTENSION, NOIOMMU), 1)
        status = bytearray(struct.pack("<II", 8, 0))
        fcntl.ioctl(self.group, GROUP_GET_STATUS, status)
        check("the group is viable", status[4] & VIABLE)
        fcntl.ioctl(self.group, SET_CONTAINER, struct.pack("i", self.container))
        fcntl.ioctl(self.container, SET_IOMMU, NOIOMMU)
        self.file = fcntl.ioctl(self.group, GET_DEVICE, bytearray(self.pci.name.encode() + b"\0"))

    def region(self, index: int) -> tuple[int, int]:
        """Size and offset of a region of the device's file."""
        info = bytearray(struct.pack("<IIIIQQ", 32, 0, index, 0, 0, 0))
        fcntl.ioctl(self.file, REGION_INFO, info)
        size, offset = struct.unpack_from("<QQ", info, 16)
        return size, offset

    def command(self, value: int) -> None:
        os.pwrite(self.file, struct.pack("<H", value), self.region(CONFIG_REGION)[1] + COMMAND)

    def close(self) -> None:
        del self.regs
        self.map.close()
        for file in (self.file, self.group, self.container):
            os.close(file)
        self.bind("nvme")


def drives(bare: Vfio) -> None:
    """Enable, Identify, and a block written and read back."""
    equal("VS", bare.reg(VS), 0x10400)
    check("CAP", bare.reg(CAP))
    q = bare.enable(sq_size=8, cq_size=8)
    equal("enabled", bare.wait(ALL, RDY), True)
    data, phys = bare.mem.take(), bare.mem.phys
    equal("identify", q.status(6, prp1=phys + data, cdw10=1), 0)
    equal("it is ours", bare.mem.map[data + 4:data + 7], b"NVL")
    ring = bare.mem.take()
    io = type(q)(bare, 1, 8, 8)
    equal("create CQ", q.status(5, prp1=phys + io.cq, cdw10=7 << 16 | 1, cdw11=1), 0)
    equal("create SQ", q.status(1, prp1=phys + io.sq, cdw10=7 << 16 | 1, cdw11=1 << 16 | 1), 0)
    bare.mem.map[ring:ring + PAGE] = b"vfio" * 1024
    equal("write", io.status(1, nsid=1, prp1=phys + ring, **lba(64, 8)), 0)
    equal("disable", bare.disable(), True)
    equal("CSTS", bare.reg(CSTS), 0)


def body(args: argparse.Namespace) -> None:
    """There and back."""
    run("modprobe", "vfio", "enable_unsafe_noiommu_mode=1")
    run("modprobe", "vfio-pci")
    equal("no-IOMMU mode", read(Path("/sys/module/vfio/parameters/enable_unsafe_noiommu_mode")), "Y")
    equal("load", load_first(args), 0)
    disk()
    bare = Vfio()
    drives(bare)
    bare.close()
    with disk().open("rb") as file:
        file.seek(64 * 512)
        equal("the nvme driver has it again, with what was written", file.read(PAGE), b"vfio" * 1024)
    write(Path("/proc/sys/vm/nr_hugepages"), 0)
    equal("unload", unload(), 0)


if __name__ == "__main__":
    main(body, parser(__doc__))
