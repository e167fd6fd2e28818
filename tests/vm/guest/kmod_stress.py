# SPDX-License-Identifier: GPL-2.0-or-later
"""What people put on a drive: file systems under stress, checked against what was written, MD and dm, all over nvlab.ko."""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path

from kmod_common import check, disk, equal, fio, load, main, parser, powered, read, run, unload, wait_for

MOUNT = Path("/run/nvlab-stress")
WRITERS = 4
STEPS = 250
LONGEST = 256 << 10  # bytes of a file
VERIFY = ("--rw=randwrite", "--iodepth=8", "--verify=crc32c", "--verify_fatal=1")


class Writer:
    """Does to the files of a directory what programs do, and remembers what must be in them."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.directory = directory
        self.random = random.Random(seed)
        self.files: dict[str, bytearray] = {}
        self.wrong: list[str] = []
        directory.mkdir()

    def run(self) -> None:
        """Thread body; what was not as written is left in ``wrong``."""
        acts = (self.create, self.write, self.write, self.append, self.truncate, self.rename, self.remove, self.verify)
        try:
            for _ in range(STEPS):
                self.random.choice(acts if self.files else (self.create,))()
        except OSError as error:
            self.wrong.append(repr(error))

    def some(self) -> tuple[str, bytearray]:
        name = self.random.choice(sorted(self.files))
        return name, self.files[name]

    def create(self) -> None:
        name, data = f"{self.random.getrandbits(40):x}", self.random.randbytes(self.random.randrange(LONGEST))
        (self.directory / name).write_bytes(data)
        self.files[name] = bytearray(data)

    def write(self) -> None:
        name, content = self.some()
        at, data = self.random.randrange(len(content) + 1), self.random.randbytes(self.random.randrange(1, 20_000))
        with (self.directory / name).open("r+b") as file:
            file.seek(at)
            file.write(data)
            if self.random.random() < 0.3:
                os.fsync(file.fileno())
        content[at:at + len(data)] = data

    def append(self) -> None:
        name, content = self.some()
        data = self.random.randbytes(self.random.randrange(1, 5000))
        with (self.directory / name).open("ab") as file:
            file.write(data)
        content += data

    def truncate(self) -> None:
        name, content = self.some()
        size = self.random.randrange(LONGEST)
        os.truncate(self.directory / name, size)
        del content[size:]
        content.extend(bytes(size - len(content)))

    def rename(self) -> None:
        name, _ = self.some()
        other = f"{self.random.getrandbits(40):x}"
        (self.directory / name).rename(self.directory / other)
        self.files[other] = self.files.pop(name)

    def remove(self) -> None:
        name, _ = self.some()
        (self.directory / name).unlink()
        del self.files[name]

    def verify(self) -> None:
        name, content = self.some()
        if (self.directory / name).read_bytes() != content:
            self.wrong.append(name)

    def verify_all(self) -> None:
        there = {path.name for path in self.directory.iterdir()}
        self.wrong += [f"{name}: there or not" for name in there ^ self.files.keys()]
        self.wrong += [name for name, content in self.files.items()
                       if name in there and (self.directory / name).read_bytes() != content]


@contextlib.contextmanager
def mounted(node: Path, *options: str) -> Iterator[None]:
    MOUNT.mkdir(exist_ok=True)
    done = run("mount", *options, str(node), str(MOUNT))
    equal("mount", (done.returncode, done.stderr), (0, ""))
    try:
        yield
    finally:
        equal("umount", run("umount", str(MOUNT)).returncode, 0)


def file_system(node: Path, kind: str, *fsck: str) -> None:
    """Make it, use it with several programs at once and discards as files go, and find everything again."""
    made = run(f"mkfs.{kind}", *(("-q", "-F") if kind == "ext4" else ("-q", "-f")), str(node), deadline=600)
    equal(f"mkfs.{kind}", (made.returncode, made.stderr), (0, ""))
    with mounted(node, "-o", "discard"):
        writers = [Writer(MOUNT / str(n), n) for n in range(WRITERS)]
        threads = [threading.Thread(target=writer.run) for writer in writers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        equal(f"{kind}: fstrim", run("fstrim", str(MOUNT)).returncode, 0)
    with mounted(node, "-o", "ro"):
        for writer in writers:
            writer.verify_all()
    equal(f"{kind}: nothing is wrong", [wrong for writer in writers for wrong in writer.wrong], [])
    check(f"{kind}: there was something", sum(len(writer.files) for writer in writers) > 20)
    done = run(*fsck, str(node), deadline=600)
    check(f"{kind}: {fsck[0]}", done.returncode == 0, out=done.stdout[-300:] + done.stderr[-300:])


def mirror(one: Path, two: Path) -> None:
    """MD on top, with a write journal's worth of flushes: both halves are the same afterwards."""
    array = Path("/dev/md/nvlab-stress")
    run("modprobe", "raid1")
    for node in (one, two):
        equal("blkdiscard", run("blkdiscard", str(node)).returncode, 0)
    made = run("mdadm", "--create", str(array), "--run", "--level=1", "--raid-devices=2", "--metadata=1.2", "--bitmap=none",
               "--assume-clean", "--size=64M", str(one), str(two))
    if not equal("mdadm --create", made.returncode, 0):
        check("why", False, err=made.stderr)
        return
    done = fio(array, *VERIFY, "--bs=4k-64k", "--size=60M", "--fsync=16")
    check("fio verifies over MD", done.returncode == 0, err=done.stderr[-300:])
    md = Path("/sys/block") / array.resolve().name / "md"
    (md / "sync_action").write_text("check\n")
    # before it has begun it is as idle as when it is over
    wait_for("the check", lambda: read(md / "last_sync_action") == "check" and read(md / "sync_action") == "idle")
    # what was never written reads as zeros on both
    equal("mismatches", read(md / "mismatch_cnt"), "0")
    equal("mdadm --stop", run("mdadm", "--stop", str(array)).returncode, 0)
    for node in (one, two):
        equal("wipe", run("mdadm", "--zero-superblock", str(node)).returncode, 0)


def stripes(one: Path, two: Path) -> None:
    """Device mapper on top."""
    run("modprobe", "dm-mod")
    sectors = 2 * 100 * 2048
    made = run("dmsetup", "create", "nvlab-stress", "--table", f"0 {sectors} striped 2 32 {one} 0 {two} 0")
    equal("dmsetup create", (made.returncode, made.stderr), (0, ""))
    node = Path("/dev/mapper/nvlab-stress")
    done = fio(node, *VERIFY, "--bs=4k-128k", "--size=64M")
    check("fio verifies over dm", done.returncode == 0, err=done.stderr[-300:])
    equal("blkdiscard", run("blkdiscard", str(node)).returncode, 0)
    with node.open("rb") as raw:
        equal("then it reads as zeros", raw.read(1 << 20).strip(b"\0"), b"")
    equal("dmsetup remove", run("dmsetup", "remove", "nvlab-stress").returncode, 0)


def body(args: argparse.Namespace) -> None:
    """All of it, on two devices."""
    run("modprobe", "-a", "ext4", "xfs")
    equal("load", load(args.module), 0)
    start = int(args.start[:-1]) << 10  # MiB
    with (
        powered("large", memmap_start=f"{start}M", memmap_size="385M", cpus=args.cpus, vwc=1) as large,
        powered("small", memmap_start=f"{start + 385}M", memmap_size="128M", block_size=4096, vwc=1) as small,
    ):
        one, two = disk(large), disk(small)
        file_system(one, "ext4", "fsck.ext4", "-fn")
        file_system(one, "xfs", "xfs_repair", "-n")
        file_system(two, "ext4", "fsck.ext4", "-fn")
        mirror(one, two)
        stripes(one, two)
    equal("unload", unload(), 0)


if __name__ == "__main__":
    main(body, parser(__doc__))
