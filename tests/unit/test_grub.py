# SPDX-License-Identifier: GPL-2.0-or-later
"""The boot configuration is written, put back and checked: on a directory that looks like a host, killed at every step.

Its update-grub has the drop-ins read by the real shell, as grub-mkconfig does; tests/vm/test_grub.py has the real programs.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest
from dumps import machine
from gruboid import grub_words
from hypothesis import given, settings
from hypothesis import strategies as st

from nvlab import cli
from nvlab.data import grub_dir
from nvlab.errors import Conflict, EnvironmentNotReady, StepFailed, TeardownIncomplete
from nvlab.host import bootcheck, dropin, grub
from nvlab.host.bootcheck import Boot, findings
from nvlab.host.edge import Host
from nvlab.host.reservation import Request, Reservation
from nvlab.units import GIB

# -- words through the shell and GRUB ----------------------------------------------------------------------------------

READ = 'for f in "$@"; do . "$f"; done; printf "%s\\n" "$GRUB_CMDLINE_LINUX_DEFAULT"'
words = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="'\"\\"), min_size=1)


def sourced(*files: Path) -> str:
    """What grub-mkconfig has as the default command line once it has read these files."""
    argv = ["sh", "-euc", f"GRUB_CMDLINE_LINUX_DEFAULT=; {READ}", "sh", *map(str, files)]
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=20).stdout.removesuffix("\n")


@settings(max_examples=60)
@given(st.lists(words, min_size=1, max_size=8))
def test_any_words_come_through_the_shell_and_grub(tmp_path_factory, arguments):
    path = tmp_path_factory.getbasetemp() / "words.cfg"
    path.write_text(dropin.grub_dropin(arguments))
    assert grub_words(sourced(path)) == arguments


@given(st.text(max_size=6))
def test_a_word_is_written_for_grub_or_refused(word):
    fine = bool(word) and all("!" <= c <= "~" and c not in "'\"\\" for c in word)
    if fine:
        assert grub_words(dropin.grub_word(word)) == [word]
    else:
        with pytest.raises(ValueError, match="cannot be a word"):
            dropin.grub_word(word)


def test_what_is_written_can_be_read():
    text = dropin.grub_dropin(["memmap=64G$8G", "isolcpus=managed_irq,domain,7-8,10"])
    last = text.splitlines()[-1]
    assert last.endswith(r""" "'memmap=64G\$8G isolcpus=managed_irq,domain,7-8,10'""")


# -- hosts ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    """No test here cuts the power: what a killed process has written is there."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)


class Killed(BaseException):
    """SIGKILL: nothing runs after it, not even what would undo."""


class DebianLike(Host):
    """A host with update-grub; ``fuse``: how many more changes it lives through."""

    programs = frozenset({"update-grub"})

    def __init__(self, root: Path, fuse: float = float("inf")) -> None:
        super().__init__(root)
        self.fuse, self.ran = fuse, []

    def has(self, program: str) -> bool:
        return program in self.programs

    def _burn(self) -> None:
        self.fuse -= 1
        if self.fuse < 0:
            raise Killed

    def put(self, name, state):
        self._burn()
        super().put(name, state)
        self._burn()

    def run(self, argv):
        self._burn()
        self.ran.append(list(argv))
        self.program(list(argv))
        self._burn()
        return ""

    def program(self, argv):
        files = [self.path("/etc/default/grub"), *sorted(self.path("/etc/default/grub.d").glob("*.cfg"))]
        line = sourced(*[f for f in files if f.exists()])
        kernels = "".join(
            f"menuentry '{k}' {{\n\tlinux\t/{k} root=/dev/sda1 ro {line}\n}}\nmenuentry 'r' {{\n\tlinux\t/{k} ro single\n}}\n"
            for k in self.names("/boot")
            if k.startswith("vmlinuz")
        )
        self.path("/boot/grub/grub.cfg").write_text(kernels)
        self.path("/boot/grub/grubenv").touch()


class FedoraLike(DebianLike):
    """A host with grubby, as far as nvlab asks it: arguments of all entries, those of the same key replaced."""

    programs = frozenset({"grubby"})

    def program(self, argv):
        _, every, change = argv
        assert every == "--update-kernel=ALL"
        option, _, text = change.partition("=")
        for path in self.path("/boot/loader/entries").glob("*.conf"):
            path.write_text(re.sub(r"(?m)^options (.*)$", lambda m: f"options {self.edit(m[1], option, text)}", path.read_text()))

    def edit(self, options: str, option: str, text: str) -> str:
        there, given_ = options.split(), text.split()
        if option == "--args":
            keys = {word.rpartition("=")[0] or word for word in given_}
            return " ".join([w for w in there if (w.rpartition("=")[0] or w) not in keys] + given_)
        return " ".join(w for w in there if not any(re.fullmatch(pattern, w) for pattern in given_))


def debian(root: Path) -> None:
    """The boot configuration of a cloud image, whose drop-in sets the whole line anew."""
    for name, text in {
        "/usr/sbin/grub-mkconfig": "for x in ${sysconfdir}/default/grub.d/*.cfg",
        "/etc/default/grub": 'GRUB_CMDLINE_LINUX_DEFAULT="splash"\n',
        "/etc/default/grub.d/50-cloudimg.cfg": 'GRUB_CMDLINE_LINUX_DEFAULT="quiet net.ifnames=0"\n',
        "/boot/vmlinuz-6.1": "",
        "/boot/grub/grub.cfg": "# as the administrator left it\n",
    }.items():
        (root / name[1:]).parent.mkdir(parents=True, exist_ok=True)
        (root / name[1:]).write_text(text)


def fedora(root: Path) -> None:
    entries = root / "boot/loader/entries"
    entries.mkdir(parents=True)
    (entries / "a-6.12.conf").write_text("title  Fedora\noptions root=UUID=1  ro   quiet\n")
    (entries / "a-0-rescue.conf").write_text("title  Rescue\noptions root=UUID=1 ro\n")


HOSTS = {"debian": (debian, DebianLike), "fedora": (fedora, FedoraLike)}
REQUEST = Request(GIB, modules=("nvme_tcp",), multipath="on")
OTHER = Request(2 * GIB, start=7 * GIB, cpus=())


@pytest.fixture(params=HOSTS)
def family(request):
    return HOSTS[request.param]


@cache
def two_nodes() -> Path:
    return machine("two-nodes", Path(tempfile.mkdtemp(prefix="nvlab-test-")))


@pytest.fixture(autouse=True, scope="module")
def no_machine_stays():
    yield
    shutil.rmtree(two_nodes())


def make(family, root: Path) -> Host:
    """A two-node machine with that boot loader, and a nvme_tcp module."""
    setup, kind = family
    shutil.copytree(two_nodes() / "proc", root / "proc", dirs_exist_ok=True)
    (root / "sys").symlink_to(two_nodes() / "sys")
    setup(root)
    release = (root / "proc/sys/kernel/osrelease").read_text().strip()
    (root / f"lib/modules/{release}").mkdir(parents=True)
    (root / f"lib/modules/{release}/modules.dep").write_text("kernel/drivers/nvme/host/nvme-tcp.ko: x.ko\n")
    (root / "proc/sys/kernel/random").mkdir()
    (root / "proc/sys/kernel/random/boot_id").write_text("first\n")
    # the kernel does not lie in what OTHER asks for
    iomem = (root / "proc/iomem").read_text()
    (root / "proc/iomem").write_text("".join(line for line in iomem.splitlines(True) if "Kernel" not in line))
    return kind(root)


def world(root: Path) -> dict[str, tuple[str, int]]:
    """All that stays over a reboot, but nvlab's own directory when there is nothing in it."""
    paths = [path for name in ("boot", "etc", "var", "lib", "usr") for path in (root / name, *(root / name).rglob("*"))]
    own = [root / name for name in ("var", "var/lib", "var/lib/nvlab") if not any(p.is_file() for p in (root / name).rglob("*"))]
    there = [path for path in paths if path.exists() and path not in own]
    return {str(p.relative_to(root)): (p.read_text() if p.is_file() else "", p.stat().st_mode) for p in there}


def applied(host: Host, request: Request = REQUEST) -> bool:
    return grub.apply(host, grub.prepare(host, request))


# -- apply and revert --------------------------------------------------------------------------------------------------


def test_applying_writes_what_the_plan_shows(tmp_path):
    host = make(HOSTS["debian"], tmp_path)
    before = world(tmp_path)
    change = grub.prepare(host, REQUEST)
    assert world(tmp_path) == before  # a plan changes nothing
    assert "+++ b/etc/default/grub.d/zz-nvlab.cfg" in change.diff and "+nvme_tcp" in change.diff
    assert "+options nvme_core multipath=Y" in change.diff
    assert grub.apply(host, change)
    for name, text in change.files.items():
        assert host.path(name).read_text() == text
    first, recovery = dropin.linux_lines(host.text("/boot/grub/grub.cfg"))
    assert grub_words(first)[-5:] == list(change.reservation.arguments)
    assert "quiet net.ifnames=0 memmap" in first and "memmap" not in recovery


def test_fedoras_entries_get_words_without_a_dollar(tmp_path):
    host = make(HOSTS["fedora"], tmp_path)
    assert applied(host)
    for entry in grub.bootloader.LOADERS["grubby"].entries(host):
        assert "memmap=1G%8G-1+2 nokaslr isolcpus=managed_irq,domain,6-7" in entry and "$" not in entry
    assert (tmp_path / "etc/modprobe.d/nvlab.conf").exists()


def test_reverting_restores_every_byte(family, tmp_path):
    host = make(family, tmp_path)
    before = world(tmp_path)
    assert applied(host) and world(tmp_path) != before
    assert grub.revert(host)
    assert world(tmp_path) == before
    assert grub.revert(host) is False


def test_applying_twice_changes_nothing(family, tmp_path):
    host = make(family, tmp_path)
    applied(host)
    before, runs = world(tmp_path), len(host.ran)
    assert applied(host) is False
    assert world(tmp_path) == before and len(host.ran) == runs


def test_another_reservation_takes_the_place_of_the_first(family, tmp_path):
    host = make(family, tmp_path)
    before = world(tmp_path)
    applied(host)
    change = grub.prepare(host, OTHER)
    assert "+++ /dev/null" in change.diff  # modules are no longer asked for
    grub.apply(host, change)
    assert not (tmp_path / "etc/modprobe.d/nvlab.conf").exists()
    assert not any("isolcpus" in entry for entry in grub.bootloader.LOADERS[change.loader].entries(host))
    grub.revert(host)
    assert world(tmp_path) == before


@pytest.mark.parametrize("when", ["apply", "apply another", "revert"])
def test_after_a_kill_at_any_moment_revert_restores_everything(family, tmp_path, when):
    """``fuse`` counts moments before and after each change; the test ends when none is left to be killed at."""
    done = False
    fuse = 0
    while not done:
        root = tmp_path / str(fuse)
        host = make(family, root)
        before = world(root)
        if when != "apply":
            applied(host)
        host.fuse = fuse
        try:
            if when == "revert":
                grub.revert(host)
            else:
                applied(host, OTHER if when == "apply another" else REQUEST)
            done = True
        except Killed:
            pass
        again = type(host)(root)
        grub.revert(again)
        now = world(root)
        if again.ran:  # nobody knows any more what the program had made: it had to undo that itself
            now, before = squeezed(now), squeezed(before)
        assert now == before, f"killed at {fuse}"
        shutil.rmtree(root)
        fuse += 1
    assert fuse > 4


def squeezed(files):
    """As far as a program that only removes words can restore it; grub.cfg is whatever update-grub makes."""
    return {k: (" ".join(text.split()), mode) for k, (text, mode) in files.items() if not k.startswith("boot/grub/")}


def test_a_kernel_that_came_meanwhile_keeps_its_entry(tmp_path):
    """Then grub.cfg is made again, not put back."""
    host = make(HOSTS["debian"], tmp_path)
    applied(host)
    (tmp_path / "boot/vmlinuz-6.12").touch()
    host.program(["update-grub"])
    assert grub.revert(host)
    text = host.text("/boot/grub/grub.cfg")
    assert "vmlinuz-6.12" in text and "memmap" not in text


def test_what_grub_has_written_into_its_environment_since_stays(tmp_path):
    """update-grub makes a grubenv where there is none; a default that is saved there later is the user's."""
    host = make(HOSTS["debian"], tmp_path)
    applied(host)
    (tmp_path / "boot/grub/grubenv").write_text("saved_entry=2\n")
    runs = len(host.ran)
    grub.revert(host)
    assert (tmp_path / "boot/grub/grubenv").read_text() == "saved_entry=2\n"
    assert host.text("/boot/grub/grub.cfg") == "# as the administrator left it" and len(host.ran) == runs


def test_a_kernel_that_is_gone_does_not_come_back(tmp_path):
    host = make(HOSTS["fedora"], tmp_path)
    applied(host)
    (tmp_path / "boot/loader/entries/a-6.12.conf").unlink()
    grub.revert(host)
    assert host.names("/boot/loader/entries") == ["a-0-rescue.conf"]


def test_an_entry_that_came_meanwhile_loses_our_words(tmp_path):
    host = make(HOSTS["fedora"], tmp_path)
    before = world(tmp_path)
    applied(host)
    entries = tmp_path / "boot/loader/entries"
    (entries / "b-6.13.conf").write_text((entries / "a-6.12.conf").read_text())
    grub.revert(host)
    assert (entries / "b-6.13.conf").read_text() == "title  Fedora\noptions root=UUID=1 ro quiet\n"
    (entries / "b-6.13.conf").unlink()
    assert world(tmp_path) == before


# -- what is not ours --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [dropin.GRUB, dropin.MODPROBE, dropin.MODULES_LOAD])
def test_a_file_that_somebody_else_wrote_stays(tmp_path, name):
    host = make(HOSTS["debian"], tmp_path)
    host.path(name).parent.mkdir(parents=True, exist_ok=True)
    host.path(name).write_text("# mine\n")
    before = world(tmp_path)
    with pytest.raises(Conflict, match="was not written by nvlab"):
        applied(host)
    assert world(tmp_path) == before


@pytest.mark.parametrize("act", [applied, grub.revert], ids=["apply", "revert"])
def test_our_file_that_somebody_changed_stays(tmp_path, act):
    host = make(HOSTS["debian"], tmp_path)
    applied(host)
    host.path(dropin.GRUB).write_text("# mine now\n")
    before = world(tmp_path)
    with pytest.raises(Conflict, match="was changed since nvlab wrote it"):
        act(host)
    assert world(tmp_path) == before


def test_a_link_in_our_place_is_not_followed(tmp_path):
    host = make(HOSTS["debian"], tmp_path)
    (tmp_path / "elsewhere").write_text("dear\n")
    host.path(dropin.GRUB).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(EnvironmentNotReady, match="no plain file"):
        applied(host)
    assert (tmp_path / "elsewhere").read_text() == "dear\n"


def test_grubby_may_not_replace_a_reservation_of_somebody_else(tmp_path):
    host = make(HOSTS["fedora"], tmp_path)
    (tmp_path / "proc/cmdline").write_text("ro memmap=1G!4G\n")
    with pytest.raises(Conflict, match="which grubby would replace"):
        applied(host)


# -- when it fails -----------------------------------------------------------------------------------------------------


def test_a_later_setting_that_wins_is_noticed_and_all_is_put_back(tmp_path):
    host = make(HOSTS["debian"], tmp_path)
    (tmp_path / "etc/default/grub.d/zzz-last.cfg").write_text('GRUB_CMDLINE_LINUX_DEFAULT="mine alone"\n')
    before = world(tmp_path)
    with pytest.raises(StepFailed, match="has not come into the boot entries") as failed:
        applied(host)
    assert "GRUB_CMDLINE_LINUX_DEFAULT" in failed.value.hint
    assert world(tmp_path) == before


def test_an_update_grub_that_fails_leaves_nothing(tmp_path, monkeypatch):
    host = make(HOSTS["debian"], tmp_path)
    before = world(tmp_path)

    def broken(argv):
        raise StepFailed("update-grub: exit code 1: no space left")

    monkeypatch.setattr(host, "program", broken)
    with pytest.raises(StepFailed, match="no space left"):
        applied(host)
    assert world(tmp_path) == before


def test_words_that_stay_are_said(tmp_path, monkeypatch):
    host = make(HOSTS["fedora"], tmp_path)
    applied(host)
    entry = tmp_path / "boot/loader/entries/a-6.12.conf"
    entry.write_text(entry.read_text() + "# touched\n")
    monkeypatch.setattr(host, "program", lambda argv: None)  # a grubby that does not find what to remove
    with pytest.raises(TeardownIncomplete, match="still has 'memmap="):
        grub.revert(host)
    assert grub.load(host)


def test_without_a_boot_loader_that_is_known_the_line_is_said(tmp_path):
    host = make((lambda root: None, DebianLike), tmp_path)
    before = world(tmp_path)
    change = grub.prepare(host, REQUEST)
    assert change.loader == "by hand" and "memmap=1G$8G" in change.by_hand
    assert grub.apply(host, change) and host.ran == []
    assert (tmp_path / "etc/modprobe.d/nvlab.conf").exists()
    assert grub.revert(host) and world(tmp_path) == before


# -- the command line --------------------------------------------------------------------------------------------------


@pytest.fixture
def nvlab(tmp_path, monkeypatch, capsys):
    """nvlab(words…): (exit code, stdout, stderr), on a host of its own; ``answer`` is what somebody types at a terminal."""
    host = make(HOSTS["debian"], tmp_path)
    monkeypatch.setattr("nvlab.host.edge.Host", lambda: host)

    def call(*words: str, answer: str | None = None) -> tuple[int, str, str]:
        stdin = io.StringIO(answer or "")
        stdin.isatty = lambda: answer is not None
        monkeypatch.setattr("sys.stdin", stdin)
        with pytest.raises(SystemExit) as ended:
            cli.main(["grub", *words])
        return (ended.value.code or 0, *capsys.readouterr())

    return call


def test_a_session(nvlab, tmp_path):
    before = world(tmp_path)
    code, out, err = nvlab("plan", "--size", "1G")
    assert (code, err) == (0, "") and "memmap=1G$8G" in out and out.endswith("Next: nvlab grub apply, with the same options\n")
    assert world(tmp_path) == before
    code, out, err = nvlab("apply", "--size", "1G")
    assert code == 0 and out == "Next: reboot, then nvlab grub check\n" and "+GRUB_CMDLINE_LINUX_DEFAULT" in err
    assert nvlab("apply", "--size", "1G")[1].startswith("all of it was applied before")
    assert nvlab("check")[0] == 3
    (tmp_path / "proc/sys/kernel/random/boot_id").write_text("second\n")
    code, out, _ = nvlab("check")
    assert code == 3 and "NOT OK  memmap=1G$8G: not on the kernel's command line\n" in out
    assert json.loads(nvlab("check", "--json")[1])[0] == {
        "what": "memmap=1G$8G",
        "ok": False,
        "found": "not on the kernel's command line",
    }
    assert nvlab("revert")[:2] == (0, "everything is as it was. Next: reboot\n")
    assert nvlab("revert")[:2] == (0, "no reservation is applied; nothing to do\n")
    (tmp_path / "proc/sys/kernel/random/boot_id").write_text("first\n")
    assert world(tmp_path) == before


@pytest.mark.parametrize(("answer", "done"), [("y\n", True), ("YES\n", True), ("n\n", False), ("\n", False), ("", False)])
def test_at_a_terminal_it_asks_first(nvlab, tmp_path, answer, done):
    before = world(tmp_path)
    code, out, err = nvlab("apply", "--size", "1G", answer=answer)
    assert "apply this?" in err and "apply this?" not in out
    assert (code == 0) == done == (world(tmp_path) != before)


def test_who_says_yes_is_not_asked(nvlab):
    assert "apply this?" not in nvlab("apply", "--size", "1G", "--yes", answer="n\n")[2]


# -- check -------------------------------------------------------------------------------------------------------------


def reservation() -> Reservation:
    words = ("memmap=1G$8G", "isolcpus=managed_irq,domain,6-7", "nohz_full=6-7", "irqaffinity=0-5")
    return Reservation(8 * GIB, GIB, 0, (6, 7), tuple(range(6)), words, "off", ("nvme-tcp",), (), ())


IOMEM = """\
100000000-1ffffffff : System RAM
200000000-23fffffff : Reserved
  200000000-2000fffff : nvlab
240000000-2ffffffff : System RAM
"""
BOOTED = Boot(
    cmdline="BOOT_IMAGE=/vmlinuz ro " + " ".join(reservation().arguments),
    iomem=IOMEM,
    isolated="6-7",
    nohz_full="6-7",
    irq_affinity="3f",
    multipath="N",
    modules=frozenset({"nvme_tcp"}),
)

WRONG = {
    "another size": ({"cmdline": BOOTED.cmdline.replace("1G$", "2G$")}, ["memmap=1G$8G"]),
    "a lost dollar": ({"cmdline": BOOTED.cmdline.replace("$8G", "")}, ["memmap=1G$8G"]),
    "twice": ({"cmdline": BOOTED.cmdline + " nohz_full=1"}, ["nohz_full=6-7"]),
    "part of it is RAM": (
        {"iomem": "100000000-20fffffff : System RAM\n210000000-23fffffff : Reserved\n"},
        ["0x200000000-0x23fffffff reserved"],
    ),
    "too short": ({"iomem": "200000000-23ffffffe : Reserved\n"}, ["0x200000000-0x23fffffff reserved"]),
    "something else is there": ({"iomem": "200000000-23fffffff : ACPI Tables\n"}, ["0x200000000-0x23fffffff reserved"]),
    "not isolated": ({"isolated": ""}, ["CPUs 6-7 isolated"]),
    "a tick": ({"nohz_full": "  (null)"}, ["CPUs 6-7 without a tick"]),
    "interrupts": ({"irq_affinity": "ff"}, ["interrupts on CPUs 0-5"]),
    "multipath": ({"multipath": "Y"}, ["native NVMe multipath off"]),
    "a module": ({"modules": frozenset()}, ["module nvme-tcp"]),
}


def test_a_kernel_that_has_all_of_it_passes():
    assert all(finding.ok for finding in findings(reservation(), BOOTED))


@pytest.mark.parametrize(("change", "named"), WRONG.values(), ids=WRONG)
def test_what_the_kernel_lacks_is_named_and_nothing_else(change, named):
    found = list(findings(reservation(), Boot(**vars(BOOTED) | change)))
    assert [finding.what for finding in found if not finding.ok] == named


@pytest.mark.parametrize(("mask", "cpus"), [("3,00000001", "0,32-33"), ("ff", "0-7"), ("", "")])
def test_masks_of_interrupts_are_read(mask, cpus):
    assert bootcheck._mask(mask) == cpus


def test_the_check_says_when_it_is_too_early(tmp_path):
    host = make(HOSTS["debian"], tmp_path)
    with pytest.raises(EnvironmentNotReady, match="no reservation is applied"):
        bootcheck.check(host)
    applied(host)
    with pytest.raises(EnvironmentNotReady, match="not rebooted"):
        bootcheck.check(host)
    (tmp_path / "proc/sys/kernel/random/boot_id").write_text("second\n")
    assert not any(finding.ok for finding in bootcheck.check(host) if finding.what != "interrupts on CPUs 0-5")
    record = json.loads((tmp_path / "var/lib/nvlab/grub.json").read_text())
    (tmp_path / "var/lib/nvlab/grub.json").write_text(json.dumps(record | {"complete": False}))
    with pytest.raises(EnvironmentNotReady, match="half applied"):
        bootcheck.check(host)


def test_the_readme_shows_what_each_reader_sees(tmp_path):
    page = (grub_dir() / "README.md").read_text()
    arguments = re.search(r"sees of `(.*?)`:", page)[1].split()
    (tmp_path / "dropin").write_text(dropin.grub_dropin(arguments))
    written = re.search(r"'.*'$", dropin.grub_dropin(arguments), re.M)[0]
    rows = re.findall(r"^\| [^|]*\| `(.*memmap.*)` \|$", page, re.M)
    assert rows == [written, sourced(tmp_path / "dropin").strip(), " ".join(arguments)]
