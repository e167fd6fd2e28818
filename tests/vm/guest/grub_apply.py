# SPDX-License-Identifier: GPL-2.0-or-later
"""``nvlab grub`` on a host with a boot disk, by the real update-grub: what it writes, refuses, and puts back. Prints JSON.

The host is a disk of ext4, entered by chroot: grub-probe must find the disk that / is on, and 10_linux wants no loop device.
Programs, memory map and CPUs are this guest's. usage: grub_apply.py IMAGE DIRECTORY… < a list of command lines, as JSON

The directories are to be found on the host too: the checkout, and those that this Python lies in.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

MOUNT = "/run/host"
FROM_THE_GUEST = ("/usr", "/dev", "/proc", "/sys", "/lib/modules")
CFG, RECORD = Path("/boot/grub/grub.cfg"), Path("/var/lib/nvlab/grub.json")


def must(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=900)
    if done.returncode:
        sys.exit(f"{argv}: {done.stdout}{done.stderr}")


def enter(image: str, directories: list[str]) -> None:
    """Make a copy of the disk the root, with the guest's programs in it."""
    must("modprobe", "brd", "rd_nr=1", f"rd_size={os.path.getsize(image) >> 10}")
    must("modprobe", "ext4")
    must("dd", f"if={image}", "of=/dev/ram0", "bs=1M")
    os.mkdir(MOUNT)
    must("mount", "/dev/ram0", MOUNT)
    for name in (*FROM_THE_GUEST, *directories):
        os.makedirs(MOUNT + name, exist_ok=True)
        must("mount", "--rbind", name, MOUNT + name)
    must("mount", "-t", "tmpfs", "run", f"{MOUNT}/run")
    os.chroot(MOUNT)
    os.chdir("/")


def files() -> dict[str, str]:
    """Every file of the disk: its kind, mode and owner, and a checksum of its content."""
    found = {}
    for parent, directories, names in os.walk("/"):
        directories[:] = [d for d in directories if not os.path.ismount(Path(parent, d))]
        for path in (Path(parent, name) for name in (*directories, *names)):
            content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
            status = path.lstat()
            found[str(path)] = f"{status.st_mode:o} {status.st_uid} {hashlib.sha256(content).hexdigest()}"
    return found


def nvlab(*words: str) -> dict[str, object]:
    from nvlab import cli

    code = None
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            cli.main(["grub", *words])
        except SystemExit as ended:
            code = ended.code
    return {"code": code, "out": out.getvalue(), "err": err.getvalue()}


def tried(words: list[str], before: dict[str, str]) -> dict[str, object]:
    """What applying does, twice, and reverting; where it is refused, what that did."""
    result: dict[str, object] = {"words": words, "apply": nvlab("apply", "--json", *words)}
    if CFG.exists() and RECORD.exists():
        result |= {"cfg": CFG.read_text(), "record": RECORD.read_text(), "again": nvlab("apply", "--json", *words)}
        result |= {"check": nvlab("check"), "revert": nvlab("revert")}
    now = files()
    return result | {"differs": sorted(f for f in before.keys() | now.keys() if before.get(f) != now.get(f))}


def main() -> None:
    image, *directories = sys.argv[1:]
    enter(image, directories)
    before = files()
    for words in json.loads(sys.stdin.read()):
        print(json.dumps(tried(words, before)), flush=True)


main()
