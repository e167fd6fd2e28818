# SPDX-License-Identifier: GPL-2.0-or-later
"""nvlab.ko under the stock nvme driver: binds, keeps data, survives what administrators do to drives."""

from __future__ import annotations

import argparse
import contextlib
import errno
import hashlib
import mmap
import os
import re
import time
from pathlib import Path

from kmod_common import (
    CONFIGFS,
    FIRST,
    Load,
    check,
    controller,
    disk,
    equal,
    fio,
    fio_beside,
    load,
    load_first,
    main,
    make,
    parser,
    pci,
    read,
    run,
    size,
    stats,
    unload,
    wait_for,
    write,
)

MIB = 1 << 20
MOUNT = Path("/tmp/nvlab-mount")
VERIFY = ("--verify=crc32c", "--verify_fatal=1", "--do_verify=1", "--verify_backlog=64")


def binds(args: argparse.Namespace) -> None:
    """The controller comes up with what was asked for."""
    equal("load", load_first(args), 0)
    node = disk()
    name = node.name
    equal("capacity", int(read(Path(f"/sys/block/{name}/size"))) * 512, size(args.size) - MIB)
    equal("block size", read(Path(f"/sys/block/{name}/queue/logical_block_size")), "512")
    equal("no volatile cache", read(Path(f"/sys/block/{name}/queue/write_cache")), "write through")
    check("interrupts are ours", "nvlab-MSI-X" in Path("/proc/interrupts").read_text())
    equal("busy while on", write(FIRST / "block_size", 4096), errno.EBUSY)
    equal("a new drive reads zeros", node.open("rb").read(MIB).count(0), MIB)
    equal("the directory is the module's own", os_error(FIRST.rmdir), errno.EPERM)


def os_error(act: object) -> int:
    """The errno of a call, or 0."""
    try:
        act()  # type: ignore[operator]
    except OSError as err:
        return err.errno or -1
    return 0


def verifies() -> None:
    """Data come back, at every block size and depth."""
    node = disk()
    for label, more in {
        "4k, depth 1": ["--bs=4k", "--iodepth=1", "--size=4M"],
        "512 B to 1 MiB, depth 16": ["--bsrange=512-1m", "--bs_unaligned=0", "--iodepth=16", "--size=64M"],
        "4 jobs": ["--bs=16k", "--iodepth=8", "--size=16M", "--numjobs=4", "--offset_increment=16M"],
    }.items():
        done = fio(node, "--rw=randwrite", *more, *VERIFY)
        check(f"fio verifies: {label}", done.returncode == 0, err=done.stderr[-400:])


def trims() -> None:
    """What was deallocated or zeroed reads as zeros, its neighbours do not."""
    node = disk()
    with node.open("r+b", buffering=0) as f:
        f.write(b"\xa5" * MIB)
        os.fsync(f.fileno())
    for tool, flag in (("discard", []), ("write zeroes", ["-z"])):
        at = 4096 if flag else 65536
        done = run("blkdiscard", *flag, "-o", str(at), "-l", "8192", str(node))
        check(f"{tool} accepted", done.returncode == 0, err=done.stderr)
        run("blockdev", "--flushbufs", str(node))
        data = node.open("rb").read(MIB)
        equal(f"{tool} reads zeros", data[at:at + 8192].count(0), 8192)
        check(f"{tool} spares the rest", data[at - 1] == 0xA5 and data[at + 8192] == 0xA5)


def mounts() -> None:
    """A file system lives on it."""
    node = disk()
    done = run("mkfs.ext4", "-q", "-F", str(node))
    check("mkfs.ext4", done.returncode == 0, err=done.stderr)
    MOUNT.mkdir(exist_ok=True)
    blob = os.urandom(8 * MIB)
    equal("mount", run("mount", str(node), str(MOUNT)).returncode, 0)
    (MOUNT / "blob").write_bytes(blob)
    equal("fstrim", run("fstrim", str(MOUNT)).returncode, 0)
    equal("umount", run("umount", str(MOUNT)).returncode, 0)
    run("mount", str(node), str(MOUNT))
    equal("file is the same", hashlib.sha1((MOUNT / "blob").read_bytes()).hexdigest(), hashlib.sha1(blob).hexdigest())
    equal("umount again", run("umount", str(MOUNT)).returncode, 0)
    equal("fsck", run("fsck.ext4", "-fn", str(node)).returncode, 0)


RANDOM = ("--rw=randrw", "--bs=4k", "--iodepth=16", "--size=32M")


def busy(since: int) -> bool:
    """Whether the device has done more commands than then."""
    return stats()["commands"] > since + 200


def resets_under_io(times: int) -> None:
    """reset_controller, and a function level reset, while fio writes and verifies."""
    with fio_beside(disk(), *RANDOM, "--verify=crc32c", "--verify_fatal=1") as job:
        for n in range(times):
            before = stats()["commands"]
            if not wait_for(f"I/O before reset {n}", lambda since=before: busy(since)):
                break
            if n == times - 1:
                equal("function level reset", write(pci() / "reset", 1), 0)
            else:
                equal(f"controller reset {n}", write(controller() / "reset_controller", 1), 0)
        before = stats()["commands"]
        wait_for("I/O after them", lambda: busy(before))
        job.passes("fio did not notice the resets")


def removes_under_io(times: int) -> None:
    """PCI remove and rescan while fio runs: fio fails, the drive comes back with its data."""
    marker = os.urandom(MIB)
    with disk().open("r+b", buffering=0) as f:
        f.seek(64 * MIB)
        f.write(marker)
        os.fsync(f.fileno())
    for n in range(times):
        job, before = Load(disk(), *RANDOM), stats()["commands"]
        wait_for(f"I/O before removal {n}", lambda since=before: busy(since))
        path = pci()
        equal(f"remove {n}", write(path / "remove", 1), 0)
        job.fails(f"fio failed {n}")
        equal(f"gone {n}", path.exists(), False)
        equal(f"rescan {n}", write(Path("/sys/bus/pci/rescan"), 1), 0)
        with disk().open("rb") as f:
            f.seek(64 * MIB)
            equal(f"data still there {n}", f.read(MIB) == marker, True)
        vectors = sum("nvlab-MSI-X" in line for line in Path("/proc/interrupts").read_text().splitlines())
        check(f"all vectors are back {n}", vectors >= 2, vectors=vectors)


def threads(name: str) -> dict[str, tuple[float, int]]:
    """Of all threads whose name begins so: seconds on a CPU, and how many times they came to run. Every kernel counts that."""
    found = {}
    for task in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (task / "comm").read_text().startswith(name):
                ticks = sum(map(int, (task / "stat").read_text().rpartition(")")[2].split()[11:13]))  # utime and stime, proc(5)
                switches = re.findall(r"ctxt_switches:\t(\d+)", (task / "status").read_text())
                found[task.name] = ticks / os.sysconf("SC_CLK_TCK"), sum(map(int, switches))
    return found


def idles() -> None:
    """Workers and slow poll cost next to nothing: they hardly ever run. What that takes is the host's affair; but who spins is
    one who runs once, and all the time."""
    run("udevadm", "settle")
    time.sleep(0.5)  # not a wait: the adaptive parts shall come to rest
    began, before = time.monotonic(), threads("nvlab")
    time.sleep(5)
    seconds, after = time.monotonic() - began, threads("nvlab")
    equal("the threads are the same", sorted(after), sorted(before))
    rates = {task: (after[task][1] - before[task][1]) / seconds for task in before.keys() & after.keys()}
    shares = {task: (after[task][0] - before[task][0]) / seconds for task in rates}
    check("an idle thread runs ten times a second at most", rates and max(rates.values()) <= 10, rates=rates)
    check("and spins never", max(shares.values(), default=1) < 0.5, shares=shares)


def unloads_in_use() -> None:
    """As pulling a drive: under I/O, and mounted."""
    node = disk()
    job, before = Load(node, *RANDOM), stats()["commands"]
    wait_for("I/O before unloading", lambda: busy(before))
    equal("unload under I/O", unload(), 0)
    job.fails("fio failed on unload")


def unloads_mounted(args: argparse.Namespace) -> None:
    """Mounted and dirty."""
    equal("load again", load_first(args), 0)
    node = disk()
    run("mkfs.ext4", "-q", "-F", str(node))
    run("mount", str(node), str(MOUNT))
    (MOUNT / "dirty").write_bytes(os.urandom(4 * MIB))
    equal("unload mounted", unload(), 0)
    done = run("umount", str(MOUNT))
    check("umount of a pulled drive", done.returncode == 0, err=done.stderr)
    equal("the node is gone", node.exists(), False)


def configures(args: argparse.Namespace) -> None:
    """Two devices at run time, each as configured."""
    start, half = size(args.start), 256 * MIB
    equal("load without parameters", load(args.module), 0)
    equal("no device", sorted(os.listdir(CONFIGFS)), ["blackout", "free", "pool", "version"])
    a = make("a", memmap_start=start, memmap_size=half, block_size=4096, vwc=1, serial="ABC123", model="My Drive",
             cpus=args.cpus)
    b = make("b", memmap_start=start + half, memmap_size="256M", subnqn="nqn.2014-08.com.example:b")
    for path in (a, b):
        equal(f"{path.name}: power", write(path / "power", 1), 0)
    node_a, node_b = disk(a), disk(b)
    ctrl_a, ctrl_b = controller(a), controller(b)
    equal("4096 B blocks", read(Path(f"/sys/block/{node_a.name}/queue/logical_block_size")), "4096")
    equal("volatile cache", read(Path(f"/sys/block/{node_a.name}/queue/write_cache")), "write back")
    equal("serial", read(ctrl_a / "serial"), "ABC123")
    equal("model", read(ctrl_a / "model"), "My Drive")
    equal("subnqn", read(ctrl_b / "subsysnqn"), "nqn.2014-08.com.example:b")
    check("serials differ", read(ctrl_a / "serial") != read(ctrl_b / "serial"))
    check("wwids differ", read(Path(f"/sys/block/{node_a.name}/wwid")) != read(Path(f"/sys/block/{node_b.name}/wwid")))
    for node in (node_a, node_b):
        done = fio(node, "--rw=randwrite", "--bs=4k", "--iodepth=8", "--size=8M", *VERIFY)
        check(f"fio verifies {node.name}", done.returncode == 0, err=done.stderr[-300:])
    timings(a, node_a)
    stable(b)
    removals(a, b)


def stable(device: Path) -> None:
    """Identity follows from the name: the same after power off and on."""
    def identity() -> list[str]:
        node = disk(device)
        return [read(Path(f"/sys/block/{node.name}/{x}")) for x in ("wwid", "device/serial", "nguid")]

    before = identity()
    equal("power off", write(device / "power", 0), 0)
    equal("power on", write(device / "power", 1), 0)
    equal("same identity", identity(), before)


def timings(device: Path, node: Path) -> None:
    """Timing changes live."""
    equal("timing live", write(device / "read_delay", 200_000_000), 0)
    fd, buf, spent = os.open(node, os.O_RDONLY | os.O_DIRECT), mmap.mmap(-1, 4096), []
    for _ in range(10):
        start = time.monotonic()
        os.preadv(fd, [buf], 0)
        spent.append(time.monotonic() - start)
    os.close(fd)
    # udev may be reading too, and a unit serves one after the other
    check("200 ms delay is 200 ms", 0.199 <= min(spent) < 0.3, seconds=spent)
    equal("timing back", write(device / "read_delay", 0), 0)
    equal("no such unit", write(device / "nr_io_units", 0), errno.EINVAL)


def removals(a: Path, b: Path) -> None:
    """rmdir turns the power off; configfs items pin the module."""
    check("directories pin the module", unload() > 0)
    a.rmdir()
    check("rmdir pulled it", len(list(Path("/sys/bus/pci/devices").glob("1*:00:00.0"))) == 1)
    equal("the other one works", len(disk(b).open("rb").read(4096)), 4096)
    b.rmdir()
    equal("unload", unload(), 0)


def body(args: argparse.Namespace) -> None:
    """All of it, in an order that leaves nothing loaded."""
    binds(args)
    verifies()
    trims()
    mounts()
    idles()
    resets_under_io(6)
    removes_under_io(3)
    unloads_in_use()
    unloads_mounted(args)
    configures(args)


if __name__ == "__main__":
    main(body, parser(__doc__))
