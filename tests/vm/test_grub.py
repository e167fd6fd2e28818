# SPDX-License-Identifier: GPL-2.0-or-later
"""``nvlab grub`` with nothing in its place: the real update-grub writes a grub.cfg, a real GRUB boots it, the kernel is asked."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path

import pytest
from dumps import unpack
from gruboid import grub_words

import nvlab
from nvlab.host.bootcheck import check, findings, read_boot
from nvlab.host.dropin import grub_word, linux_lines
from nvlab.host.edge import Host
from nvlab.host.grub import RECORD
from nvlab.host.reservation import Reservation
from nvlab.nodes import initramfs, kernels, qemu
from nvlab.nodes.kvm import accelerator
from nvlab.nodes.qemu import GuestSpec
from nvlab.units import GIB

ROOT = Path(nvlab.__file__).parents[1]
PROGRAM = str(Path(__file__).parent / "guest/grub_apply.py")
KERNELS = ("6.1", "6.12")
UUID = "6c1d0f4e-31a4-4b0e-9a44-2f1d9d3f9a11"
MACHINE = ("-machine", "q35", "-smp", "4", "-m", "6G")
DEADLINE = 600.0  # seconds for firmware, GRUB and kernel; some twenty on an idle host

GOOD = (
    "--size 1G --cpus none",
    "--size 513M",
    "--size 2G --start 5G --cpus 1,3 --intremap off",
    "--size 300M --start 6146M --cpus 2 --multipath off",
    "--size 3G --cpus 1-3 --modules loop,nvme-tcp --multipath on",
)
WRONG = {
    "--size 1G --start 16M": "belongs to the running kernel",
    "--size 1G --start 1G": "lies below 4 GiB",
    "--size 1G --start 9G": "is no RAM (RAM ends at 8 GiB)",
    "--size 1G --start 7680M": "0x200000000-0x21fffffff is no RAM (RAM ends at 8 GiB)",
    "--size 1G --start 5243905K": "the start is no multiple of 2 MiB",
    "--size 1G --start 5243903": "the start is no multiple of 2 MiB",
    "--size 1048577": "must be a multiple of 1 MiB",
    "--size 6G": "must keep 1 GiB",
    "--size 1G --cpus 0": "cannot be isolated",
    "--size 1G --cpus 4": "no CPU 4",
    "--size 1G --node 1": "no such NUMA node",
}

# What the program that GRUB boots cannot have: it loads no modules.
UNSEEN = {"native NVMe multipath off", "native NVMe multipath on", "module loop", "module nvme-tcp"}

# The boot disk's own settings: as cloud images do, one file replaces the line of another.
DEFAULTS = """\
GRUB_DEFAULT=saved
GRUB_TIMEOUT=0
GRUB_TERMINAL=serial
GRUB_CMDLINE_LINUX="console=ttyS0 tsc=reliable clocksource=tsc no_timer_check"
GRUB_CMDLINE_LINUX_DEFAULT="splash"
"""
CLOUD = 'GRUB_CMDLINE_LINUX_DEFAULT="quiet"\n'

# What the CD's GRUB does: it speaks on the serial line, finds the disk, and mostly hands over to the grub.cfg that is there.
SERIAL = """\
serial --unit=0 --speed=115200
terminal_output serial
"""
FIND_THE_DISK = f"search --no-floppy --fs-uuid --set=root {UUID}\n"

# The first and only program of the kernel that GRUB boots: it shows what there is.
INIT = """\
#!/upper/bin/busybox sh
b=/upper/bin/busybox
$b mkdir -p /proc /sys /dev
$b mount -t proc proc /proc; $b mount -t sysfs sysfs /sys; $b mount -t devtmpfs dev /dev
exec >/dev/ttyS0 2>&1
echo 0 >/proc/sys/kernel/printk
echo
for f in /proc/cmdline /proc/iomem /proc/meminfo /proc/sys/kernel/osrelease /proc/sys/kernel/random/boot_id \
	/proc/irq/default_smp_affinity /sys/firmware/memmap/*/* /sys/devices/system/cpu/online \
	/sys/devices/system/cpu/isolated /sys/devices/system/cpu/nohz_full \
	/sys/devices/system/cpu/cpu*/topology/thread_siblings_list /sys/devices/system/node/node*/cpulist; do
	[ -e $f ] && echo "== $f" && $b cat $f
done
echo "== end"
$b reboot -f
"""


@dataclass(frozen=True)
class Disk:
    """A boot disk in the making: the files on it."""

    tree: Path

    def image(self, path: Path, cfg: str | None = None) -> Path:
        """As an image of ext4; ``cfg``: with this grub.cfg on it."""
        if cfg is not None:
            (self.tree / "boot/grub/grub.cfg").write_text(cfg)
        argv = ["mkfs.ext4", "-q", "-F", "-U", UUID, "-d", str(self.tree), str(path), "96M"]
        subprocess.run(argv, check=True, timeout=300, capture_output=True)
        return path


@pytest.fixture(scope="module")
def kernel() -> str:
    """Of the guest that runs update-grub, which has nothing to do with it; the disk has both kernels to boot."""
    return "6.1"


@pytest.fixture(scope="module")
def spec() -> GuestSpec:
    """The same memory and CPUs as the machine that GRUB boots."""
    return GuestSpec(cpus=4, memory=6 * GIB)


@pytest.fixture(scope="module")
def running(boot, spec, kernel):
    """A guest that has update-grub."""
    missing = [name for name in ("update-grub", "grub-mkrescue", "xorriso", "mformat") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{missing[0]} is not installed: apt-get install grub2-common grub-pc-bin xorriso mtools")
    return boot(replace(spec, kernel=kernel), f"grub-{kernel}".replace(".", "-"))


@pytest.fixture(scope="module")
def disk(running, tmp_path_factory) -> Disk:
    tree = tmp_path_factory.mktemp("disk")
    for name in ("boot/grub", "etc/default/grub.d", "var/lib", "run", "tmp"):
        (tree / name).mkdir(parents=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (tree / name).symlink_to(f"usr/{name}")
    shutil.copytree("/etc/grub.d", tree / "etc/grub.d")
    (tree / "etc/default/grub").write_text(DEFAULTS)
    (tree / "etc/default/grub.d/50-cloud.cfg").write_text(CLOUD)
    (tree / "boot/grub/grub.cfg").write_text("# as it was\n")
    nothing = tmp_path_factory.mktemp("initrd") / "nothing"
    nothing.touch()
    for image in map(kernels.find, KERNELS):
        shutil.copy(image.path, tree / f"boot/vmlinuz-{image.release}")
        initramfs.build(nothing, INIT, [Path("/bin/busybox")], tree / f"boot/initrd.img-{image.release}")
    return Disk(tree)


@pytest.fixture(scope="module")
def tried(running, disk, tmp_path_factory) -> dict[str, dict]:
    """What nvlab grub said and did for each command line, on a host with that disk."""
    image = disk.image(tmp_path_factory.mktemp("image") / "disk.img")
    directories = dict.fromkeys([str(ROOT), sys.prefix, sys.base_prefix])
    lines = json.dumps([line.split() for line in (*GOOD, *WRONG)])
    argv = [sys.executable, "-B", PROGRAM, str(image), *directories]
    with running.connect() as session:
        done = session.run(argv, 3600, stdin=lines, env={"PYTHONPATH": str(ROOT)})
    running.stop()  # the machine that GRUB boots needs the cores
    assert done["code"] == 0, done["out"] + done["err"]
    return {" ".join(result["words"]): result for result in map(json.loads, done["out"].splitlines())}


@pytest.mark.parametrize("words", GOOD)
def test_what_is_applied_is_reverted_byte_for_byte(tried, words):
    result = tried[words]
    assert result["apply"]["code"] == 0, result["apply"]["err"]
    assert json.loads(result["again"]["out"])["changed"] is False
    assert result["revert"]["code"] == 0 and result["differs"] == []


@pytest.mark.parametrize("words", GOOD)
def test_the_check_waits_for_the_reboot(tried, words):
    check = tried[words]["check"]
    assert check["code"] == 3 and "not rebooted since" in check["err"]


@pytest.mark.parametrize(("words", "why"), WRONG.items(), ids=list(WRONG))
def test_what_cannot_be_is_refused_before_anything_is_written(tried, words, why):
    result = tried[words]
    assert result["apply"]["code"] == 2 and why in result["apply"]["err"]
    assert result["differs"] == [] and "record" not in result


@pytest.mark.parametrize(("words", "boots"), list(zip(GOOD, cycle(KERNELS))), ids=GOOD)
def test_grub_gives_the_kernel_what_was_asked(tried, disk, words, boots, tmp_path):
    """And only the entries that are not for recovery."""
    result, release = tried[words], kernels.find(boots).release
    arguments = json.loads(result["apply"]["out"])["reservation"]["arguments"]
    host = unpack(boot_disk(disk.image(tmp_path / "disk.img", result["cfg"]), release, tmp_path), tmp_path / "host")
    (host / RECORD.lstrip("/")).parent.mkdir(parents=True)
    (host / RECORD.lstrip("/")).write_text(result["record"])
    assert (host / "proc/sys/kernel/osrelease").read_text().strip() == release
    said = (host / "proc/cmdline").read_text().split()
    assert said[-len(arguments) :] == arguments
    found = check(Host(host))
    assert len(found) >= len(arguments) and {f.what for f in found if not f.ok} <= UNSEEN
    recovery = [line for line in linux_lines(result["cfg"]) if " single " in line]
    assert recovery and not any("memmap" in line for line in recovery)


@pytest.mark.parametrize("boots", KERNELS)
def test_the_form_without_a_dollar_sign_reserves_the_same(disk, boots, tmp_path):
    """What grubby gets on Fedora and RHEL; here a GRUB boots it that would let a dollar sign through."""
    wanted = Reservation(5 * GIB, GIB, 0, (), (0, 1, 2, 3), ("memmap=1G$5G",), None, (), (), ()).without_dollar()
    release = kernels.find(boots).release
    line = f"linux /boot/vmlinuz-{release} console=ttyS0 quiet no_timer_check {' '.join(wanted.arguments)}"
    cfg = f"{FIND_THE_DISK}{line}\ninitrd /boot/initrd.img-{release}\nboot\n"
    image = disk.image(tmp_path / "disk.img")
    host = unpack(boot_cd(cfg, tmp_path, "-drive", f"file={image},format=raw"), tmp_path / "host")
    assert [str(finding) for finding in findings(wanted, read_boot(Host(host))) if not finding.ok] == []


def test_grub_reads_words_as_the_unit_tests_say_it_does(tmp_path):
    """Every printable character alone, then words at random: GRUB's own echo says what it took them for."""
    chance = random.Random(1)
    characters = [chr(code) for code in range(33, 127) if chr(code) not in "'\"\\"]
    words = [f"x{c}y" for c in characters] + ["".join(chance.choices(characters, k=12)) for _ in range(100)]
    unquoted = [rf"a\{c}b" for c in characters] + ["a$b", "a${b}c", "'a$b'", r"'a'\$'b'", "memmap=1G$4G", r"memmap=1G\$4G"]
    lines = [*map(grub_word, words), *unquoted]
    said = boot_cd("".join(f"echo {n}: {line}\n" for n, line in enumerate(lines)) + "echo == end\nhalt\n", tmp_path)
    heard = re.findall(r"\d+: (\S+)\r?$", said, re.M)
    assert heard[: len(words)] == words
    assert heard[len(words) :] == ["".join(grub_words(line)) for line in unquoted]


def boot_disk(image: Path, release: str, scratch: Path) -> str:
    """What the kernel of that release shows when GRUB boots it from a disk; GRUB itself comes from a CD."""
    grub = scratch / "cd/boot/grub"
    grub.mkdir(parents=True)
    saved = f"saved_entry=gnulinux-advanced-{UUID}>gnulinux-{release}-advanced-{UUID}"  # grub-set-default writes this
    for argv in (["create"], ["set", saved]):
        subprocess.run(["grub-editenv", grub / "grubenv", *argv], check=True, timeout=300)
    return boot_cd(f"{FIND_THE_DISK}configfile /boot/grub/grub.cfg\n", scratch, "-drive", f"file={image},format=raw")


def boot_cd(cfg: str, scratch: Path, *devices: str) -> str:
    """What a machine says on its serial line that boots a CD of GRUB with that grub.cfg, up to a line "== end"."""
    cd, serial = scratch / "cd", scratch / "serial"
    (cd / "boot/grub").mkdir(parents=True, exist_ok=True)
    (cd / "boot/grub/grub.cfg").write_text(SERIAL + cfg)
    subprocess.run(["grub-mkrescue", "-o", scratch / "cd.iso", cd], check=True, timeout=300, capture_output=True)
    accel = accelerator(kernels.find(None).path, scratch).name
    argv = [qemu.BINARY, "-accel", "kvm" if accel == "kvm" else "tcg,thread=single", *MACHINE]
    argv += ["-nodefaults", "-display", "none", "-no-reboot", "-boot", "d"]
    argv += ["-cdrom", scratch / "cd.iso", *devices, "-serial", f"file:{serial}"]
    with subprocess.Popen(list(map(str, argv)), stdin=subprocess.DEVNULL) as guest:
        try:
            guest.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            guest.kill()
    text = serial.read_text(errors="replace") if serial.exists() else ""
    assert "== end" in text, f"it did not get to its end:\n{text[-4000:]}"
    return text
