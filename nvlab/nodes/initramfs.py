# SPDX-License-Identifier: GPL-2.0-or-later
"""The first file system of a guest: virtme-ng's (busybox and kernel modules), and our own /init and seed on top.

Everything that a guest reads from the host is a round trip over 9p: 0.1 ms on an idle host, 20 ms and more on a busy one, and
Python needs a thousand of them to start. So the files it needs lie in memory from the start, in the upper layer of the overlay.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

import nvlab
from nvlab.errors import EnvironmentNotReady
from nvlab.nodes.kernels import Image
from nvlab.nodes.state import read_json, write_json

PACKAGE = Path(nvlab.__file__).resolve().parent
UPPER = "upper"
_LIMIT = 300.0  # seconds to make virtme-ng's part; half a second on an idle host

# What is mounted where. The root is the host's, read-only; the overlay takes every write, so nothing here can change the host.
# cache=none: the guest sees what changes on the host (a module built again) while it runs.
_INIT = """#!/bin/sh
b=/bin/busybox
mount -t proc proc /proc
[ -e /modules/load_all.sh ] && . /modules/load_all.sh
mkdir -p /upper /work /host /newroot
mount -t 9p -o ro,version=9p2000.L,trans=virtio,access=any,msize=512000,cache=none /dev/root /host
mount -t overlay -o lowerdir=/host,upperdir=/upper,workdir=/work,xino=off nvlab /newroot
cd /newroot
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t devtmpfs devtmpfs dev
mount -t tmpfs -o mode=755 tmpfs run
mkdir dev/pts dev/shm run/lock
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts dev/pts
mount -t tmpfs tmpfs dev/shm
for name in fd: stdin:/0 stdout:/1 stderr:/2; do $b ln -s /proc/self/fd${{name#*:}} dev/${{name%%:*}}; done
$b ls root >/dev/null 2>&1 || mount -t tmpfs tmpfs root
{modules}
echo {hostname} >/proc/sys/kernel/hostname
echo 4 >/proc/sys/vm/drop_caches # from now on without a line in the kernel log (guest.py drops names for each session)
$b ip link set lo up
{udevd}
mount -o move . /
exec $b chroot . {command}
"""
_UDEVD = "/usr/lib/systemd/systemd-udevd"

_SEED = """
import importlib, json, os, sys
sys.path[:] = json.loads(sys.argv[1])
names = ["nvlab.nodes.guest", "nvlab.nodes.handlers"]
for name in names:
    names += getattr(importlib.import_module(name), "WARM", ())
files = {line.split()[-1] for line in open("/proc/self/maps") if "/" in line}
for module in list(sys.modules.values()):
    files |= {getattr(module, "__file__", None), getattr(module, "__cached__", None)}
print(json.dumps(sorted({os.path.realpath(f) for f in files if f and os.path.isfile(f)})))
"""


def init_script(hostname: str, command: list[str], modules: Path | None) -> str:
    """The guest's /init. ``modules``: the directory a build tree's modules are in.

    A link, not a mount, as the modules in it are relative links into the tree; in a directory of its own, as a kernel of the
    same release may be installed.
    """
    link = (
        f'mkdir /trees; ln -s "{modules}" /trees/$(cat /proc/sys/kernel/osrelease); mount -o bind /trees lib/modules'
        if modules
        else ""
    )
    udevd = f"$b chroot . {_UDEVD} --daemon &" if os.path.exists(_UDEVD) else ""
    return _INIT.format(hostname=hostname, command=" ".join(command), modules=link, udevd=udevd)


def seed(path: list[str], cache: Path) -> list[Path]:
    """The files an agent reads to start, found by starting one here with ``path`` as its sys.path; kept until they change."""
    known = read_json(cache / "seed.json")
    files = [Path(file) for file in known.get("files", ())]
    if known.get("path") != path or known["code"] != code_state(files):
        argv = [sys.executable, "-I", "-S", "-c", _SEED, json.dumps(path)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_LIMIT, check=False)
        if done.returncode:
            raise EnvironmentNotReady(f"the agent does not start: {done.stderr.strip()}", hint="install nvlab again")
        files = [Path(file) for file in json.loads(done.stdout)]
        cache.mkdir(parents=True, exist_ok=True)
        write_json(cache / "seed.json", {"path": path, "code": code_state(files), "files": [str(f) for f in files]})
    return files


def code_state(files: Iterable[Path]) -> str:
    """Tells one state of nvlab's own code among ``files`` from another: a guest keeps the code it was booted with."""
    own = [file for file in files if file.is_relative_to(PACKAGE) and file.suffix == ".py" and file.exists()]
    return f"{len(own)} {max((file.stat().st_mtime_ns for file in own), default=0)}"


def build(base: Path, script: str, files: Iterable[Path], target: Path) -> None:
    """Write ``target``: ``base``, then an archive with ``script`` as /init and ``files`` in the upper layer."""
    with target.open("wb") as out:
        out.write(base.read_bytes())
        out.write(bytes(-out.tell() % 4))
        out.write(_entry("init", 0o100755, script.encode(), 0))
        for part in _archive(files):
            out.write(part)
        out.write(_entry("TRAILER!!!", 0, b"", 0))


def base(image: Image, cache: Path) -> Path:
    """virtme-ng's initramfs for a kernel, made once for each state of the kernel and its modules."""
    modules = image.tree / "modules.order" if image.tree else Path("/lib/modules", image.release, "modules.dep")
    marks = [f"{p.stat().st_mtime_ns:x}" for p in (image.path, modules) if p.exists()]
    target = cache / "-".join(["initramfs", image.release, *marks])
    if not target.exists():
        cache.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f"{target.name}.{os.getpid()}")
        _save(image, temporary)
        temporary.replace(target)
    return target


def _save(image: Image, target: Path) -> None:
    argv = [*runner(image), "--overlay-rwdir", "/", "--disable-kvm", "--dry-run", "--force-initramfs"]
    argv += ["--save-initramfs", str(target)]
    # for a build tree it runs another program of its own, which it looks for in PATH
    path = f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_LIMIT,
        check=False,
        env=os.environ | {"PATH": path},
    )
    if not target.exists():
        raise EnvironmentNotReady(
            f"virtme-ng cannot prepare kernel {image.release}: {done.stderr.strip()}",
            hint="apt-get install busybox-static file kmod qemu-system-x86",
        )


def runner(image: Image) -> list[str]:
    """The beginning of every call of virtme-ng's runner."""
    kernel = ["--kdir", str(image.tree)] if image.tree else ["--kimg", str(image.path)]
    return [sys.executable, "-m", "virtme.commands.run", *kernel, "--mods", "auto", "--force-9p"]


def _archive(files: Iterable[Path]) -> Iterator[bytes]:
    """``files`` under UPPER/, each after its directories, which keep their modes."""
    made = {Path("/")}
    yield _entry(UPPER, 0o40755, b"", 0)
    for file in files:
        for directory in reversed(file.parents):
            if directory not in made:
                made.add(directory)
                yield _copy(directory)
        yield _copy(file)


def _copy(path: Path) -> bytes:
    status = path.stat()
    data = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
    return _entry(f"{UPPER}{path}", status.st_mode, data, int(status.st_mtime))


def _entry(name: str, mode: int, data: bytes, mtime: int) -> bytes:
    """One member of a cpio archive (Documentation/driver-api/early-userspace/buffer-format.rst, "newc"), owned by root."""
    encoded = name.encode() + b"\0"
    fields = (0, mode, 0, 0, 1, mtime, len(data), 0, 0, 0, 0, len(encoded), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
    return header + bytes(-len(header) % 4) + data + bytes(-len(data) % 4)
