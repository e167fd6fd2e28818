# SPDX-License-Identifier: GPL-2.0-or-later
"""Where labs live: which node is meant, how another machine is reached and becomes one, what this machine must have."""

from __future__ import annotations

import hashlib
import inspect
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvlab import controller, data
from nvlab.errors import EnvironmentNotReady, NodeLost, UsageError
from nvlab.host.memmap import left_alone
from nvlab.host.virtual import virtualization
from nvlab.layers.base import Facts
from nvlab.nodes import bootstrap, local, parcel, places, ssh
from nvlab.nodes.guestnode import GuestNode
from nvlab.nodes.hostnode import HostNode
from nvlab.nodes.local import Local
from nvlab.nodes.ssh import Ssh, ssh_argv
from nvlab.nodes.state import write_json
from nvlab.plan import Needs
from nvlab.planner import make_plan
from nvlab.scenario import loads
from nvlab.units import GIB, MIB

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="labs on this machine are root's")


@pytest.fixture(autouse=True)
def own_state(tmp_path, monkeypatch):
    monkeypatch.setenv("NVLAB_STATE", str(tmp_path / "state"))


# -- which is meant ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "known"),
    [
        ({}, {"node": "vm", "guest": "default"}),
        ({"on": "vm"}, {"node": "vm", "guest": "default"}),
        ({"on": "vm:two"}, {"node": "vm", "guest": "two"}),
        ({"on": "vm:two", "guest": "two"}, {"node": "vm", "guest": "two"}),
        ({"guest": "two"}, {"node": "vm", "guest": "two"}),
        ({"on": "local"}, {"node": "local"}),
        ({"on": "ssh:root@box.example"}, {"node": "ssh", "host": "root@box.example"}),
    ],
)
def test_a_place_is_one_node_and_its_record_leads_back_to_it(words, known):
    assert places.chosen(**words).known() == known
    assert places.recorded(known).known() == known


@pytest.mark.parametrize("on", ["here", "locale", "local:x", "host", ":x"])
def test_what_is_no_place_is_refused(on):
    with pytest.raises(UsageError, match="is no place") as caught:
        places.chosen(on)
    assert "--on ssh:HOST" in caught.value.hint


def test_two_names_for_the_guest_are_refused():
    with pytest.raises(UsageError, match="two guests"):
        places.chosen("vm:one", guest="two")


# -- the command ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["box", "box.example", "root@10.0.0.7", "a_user@box-2", "fe80::1%eth0", "::1"])
def test_hosts_are_given_to_ssh_after_its_options(host):
    argv = ssh_argv(host)
    assert argv[0] == "ssh" and argv[-3:-1] == ["--", host]
    assert "BatchMode=yes" in argv and "ServerAliveInterval=5" in argv


@pytest.mark.parametrize(
    "host", ["", "-oProxyCommand=reboot", "root@-l", "-l root", "box;reboot", "box reboot", "$(reboot)", "a@b@c", "box\n"]
)
def test_what_is_no_host_is_refused(host):
    with pytest.raises(UsageError, match="no host to reach"):
        places.chosen(f"ssh:{host}")


@given(st.text(max_size=12))
def test_no_host_is_an_option_or_means_something_to_a_shell(host):
    try:
        ssh_argv(host)
    except UsageError:
        return
    assert not any(part.startswith("-") for part in host.split("@"))
    assert not set(host) & set(" \t\n\"'`$&|;<>()*?[]{}\\!#~=/,")


def test_one_word_in_single_quotes_is_all_that_the_far_shell_gets():
    command = ssh_argv("box")[-1]
    program, quote, rest = command.partition("'")
    assert program == "exec python3 -I -c " and quote and rest.endswith("'") and rest.count("'") == 1
    assert "!" not in command and "\n" not in command


# -- the parcel ----------------------------------------------------------------------------------------------------


def members() -> set[str]:
    with tarfile.open(fileobj=io.BytesIO(parcel.pack()[1])) as tar:
        return set(tar.getnames())


def test_the_parcel_is_always_the_same_and_small():
    assert parcel.pack() == parcel.pack()
    assert len(parcel.pack()[1]) < 2 * MIB
    assert all(name.endswith((".py", ".c", ".h", ".def", "Kbuild", "Makefile")) for name in members())


def test_an_installed_package_sends_the_same(monkeypatch, tmp_path):
    """There the module's sources lie inside it, in _data."""
    before = members()
    shutil.copytree(data.kmod_dir(), tmp_path / "_data/kmod")
    monkeypatch.setattr(parcel, "kmod_dir", lambda: tmp_path / "_data/kmod")
    assert members() == before and "kmod/Kbuild" in before and "kmod/core/model.def" in before


# -- another machine -----------------------------------------------------------------------------------------------

# Runs the command here, by a shell, as sshd there would; a login script of that shell has something to say.
FAKE_SSH = """#!/bin/sh
printf '%s\\n' "$@" > "{log}"
[ ! -e "{broken}" ] || {{ cat "{broken}" >&2; exit 255; }}
echo 'Welcome to the machine'
for command; do :; done
exec sh -c "$command"
"""


class Far:
    """A fake ssh, and the directory that is the far end's own."""

    def __init__(self, directory: Path) -> None:
        self.base, self.log, self.broken = directory / "far/agent", directory / "argv", directory / "broken"
        self.bin = directory / "bin"
        self.program("ssh", FAKE_SSH.format(log=self.log, broken=self.broken))

    def program(self, name: str, text: str) -> None:
        self.bin.mkdir(exist_ok=True)
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def versions(self) -> list[str]:
        return sorted(path.name for path in self.base.iterdir())


@pytest.fixture
def far(tmp_path, monkeypatch):
    far = Far(tmp_path)
    monkeypatch.setenv("PATH", f"{far.bin}:{os.environ['PATH']}")
    monkeypatch.setattr(ssh, "BASE", str(far.base))
    monkeypatch.setattr(ssh, "OWNER", os.geteuid())
    return far


def test_another_machine_needs_nothing_but_python(far):
    """What its agent imports comes out of the parcel, and neither pydantic nor numpy is in it."""
    script = (
        "import sys, nvlab, pyudev; sys.path[:] = [p for p in sys.path if 'site-packages' not in p]; import nvlab.nodes.handlers,"
        " nvlab.record.recorder, nvlab.host.survey, nvlab.host.kmod, nvlab.data; print(nvlab.__file__, pyudev.__file__,"
        " nvlab.data.kmod_dir(), [m for m in ('pydantic', 'numpy', 'rich', 'cffi') if m in sys.modules])"
    )
    with closing(Ssh("box").connect()) as session:
        assert session.call("ping", deadline=60)["release"] == os.uname().release
    (version,) = far.versions()
    assert version == parcel.pack()[0]
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(far.base / version)!r}); {script}"],
        capture_output=True,
        text=True,
        check=True,
    )
    own = [f"{far.base / version}/{name}" for name in ("nvlab/__init__.py", "pyudev/__init__.py", "kmod")]
    assert done.stdout.split() == [*own, "[]"]
    argv = far.log.read_text().splitlines()
    assert argv[-3:-1] == ["--", "box"]


def test_the_parcel_is_sent_once_and_the_last_version_replaces_those_that_nobody_runs(far, monkeypatch):
    sent = []
    monkeypatch.setattr(ssh, "pack", lambda: sent.append(1) or parcel.pack())
    far.base.mkdir(parents=True, mode=0o700)
    (far.base / "older").mkdir()
    (far.base / "older/file").touch()
    with closing(Ssh("box").connect()) as session:
        (version,) = far.versions()
        made = (far.base / version / "nvlab/__init__.py").stat().st_ino
        with closing(Ssh("box").connect()) as other:
            assert session.call("ping", deadline=60)["pid"] != other.call("ping", deadline=60)["pid"]
    assert (far.base / version / "nvlab/__init__.py").stat().st_ino == made


def test_a_version_that_an_agent_runs_stays(far, monkeypatch):
    with closing(Ssh("box").connect()):
        (first,) = far.versions()
        digest, sent = parcel.pack()
        padded = sent + b"\0" * 8  # what follows the end of a compressed file is not looked at
        monkeypatch.setattr(ssh, "pack", lambda: (hashlib.sha256(padded).hexdigest(), padded))
        with closing(Ssh("box").connect()) as session:
            assert session.call("ping", deadline=60)
            assert len(far.versions()) == 2 and first in far.versions() and first == digest


def test_a_directory_that_others_may_write_is_not_trusted(far):
    far.base.mkdir(parents=True)
    far.base.chmod(0o777)
    with pytest.raises(EnvironmentNotReady, match="is not root's alone"):
        Ssh("box").connect()


def test_what_ssh_says_is_what_the_user_hears(far):
    far.broken.write_text("root@box: Permission denied (publickey).\n")
    with pytest.raises(EnvironmentNotReady, match=r"box cannot be reached by ssh: root@box: Permission denied") as caught:
        Ssh("box").connect()
    assert "must work without asking" in caught.value.hint


def test_a_far_end_that_is_not_root_says_so(far, monkeypatch):
    """sudo there does not make it so; it is asked for once, and told not to ask for a password."""
    monkeypatch.setattr(ssh, "OWNER", os.geteuid() + 1)
    far.program("sudo", f'#!/bin/sh\nprintf "%s\\n" "$1" "$2" > {far.log}.sudo\nshift 2\nexec "$@"\n')
    with pytest.raises(EnvironmentNotReady, match="box: nvlab is not root there"):
        Ssh("box").connect()
    assert Path(f"{far.log}.sudo").read_text() == "-n\n--\n"


def test_an_old_python_there_is_named(far, monkeypatch):
    source = inspect.getsource(bootstrap).replace("OLDEST = (3, 11)", "OLDEST = (9, 0)")
    monkeypatch.setattr(inspect, "getsource", lambda module: source)
    with pytest.raises(EnvironmentNotReady, match="its python3 is 3"):
        Ssh("box").connect()


def test_a_line_that_breaks_says_what_becomes_of_the_lab(far):
    session = Ssh("box").connect()
    session.begin("exec", {"argv": ["sh", "-c", "kill -9 $PPID"]})
    with pytest.raises(NodeLost, match="the line to box broke") as caught:
        session.finish("exec", deadline=60)
    session.close()
    assert "being undone" in caught.value.hint


def test_a_snapshot_does_not_go_to_another_machine():
    with pytest.raises(UsageError, match=r"device\.ssd\.state"):
        Ssh("box").check({"ssd": {}})
    Local().check({"ssd": {}})


# -- this machine --------------------------------------------------------------------------------------------------


@needs_root
def test_the_agent_of_this_machine_is_a_child_of_ours():
    with closing(Local().connect()) as session:
        pid = session.call("ping", deadline=60)["pid"]
        parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        assert parent == os.getpid() and os.getsid(pid) == pid
        said = session.call("machine", deadline=60)
    assert said["kernel"] == os.uname().release and said["cpus"] == os.cpu_count() and said["memory"] > 0
    assert not Path(f"/proc/{pid}").exists(), "it ends with its session, and we have waited for it"


def test_without_root_the_way_is_said(monkeypatch):
    monkeypatch.setattr(local.os, "geteuid", lambda: 1000)
    with pytest.raises(EnvironmentNotReady, match="need root") as caught:
        Local().connect()
    assert "sudo nvlab" in caught.value.hint


class Told(Local):
    """This machine, with what it says of itself."""

    def __init__(self, **facts):
        self._told = {
            "machine": {"accelerator": "none", "kernel": "6.1.0", "cpus": 16, "memory": 64 * GIB},
            "facts": {"reserved": [], "taken": [], "lost": []} | facts,
            "status": [{"lab": "standing"}],
        }


def test_without_reserved_memory_what_to_do_is_said():
    node, said = Told(), []
    needs = Needs(reserved=((0, 2 * GIB + MIB),))
    with pytest.raises(EnvironmentNotReady, match=r"need 2\.001 GiB .* on this machine none is set aside") as caught:
        node.prepare("lab", needs, said.append)
    assert "nvlab grub plan --size 3G" in caught.value.hint and "reboot" in caught.value.hint
    assert said[0]["kind"] == "host" and node.cpus() == 16 and node.holds("standing") and not node.holds("lab")
    node.prepare("lab", Needs(), said.append)  # a lab of disks needs none


def test_what_other_labs_have_and_what_linux_took_is_said():
    node = Told(reserved=[(5 * GIB, 4 * GIB)], taken=[(5 * GIB, 3 * GIB)], lost=["1G$16M"])
    with pytest.raises(EnvironmentNotReady) as caught:
        node.prepare("lab", Needs(reserved=((0, 2 * GIB),)), lambda event: None)
    assert "4 GiB is set aside, other labs have 3 GiB of it" in caught.value.message
    assert "asks for 1G$16M, which Linux has not left alone" in caught.value.message
    node.prepare("lab", Needs(reserved=((0, GIB),)), lambda event: None)


IOMEM = """\
00100000-bfffffff : System RAM
100000000-13fffffff : System RAM
  120000000-1212fffff : Kernel code
140000000-23fffffff : Reserved
240000000-2bfffffff : System RAM
"""


def test_of_what_memmap_asks_for_only_what_linux_left_alone_counts():
    cmdline = "memmap=4G$5G memmap=1G$4G memmap=1G$8G memmap=2G$8G"
    assert left_alone(cmdline, IOMEM) == (
        [(5 * GIB, 4 * GIB), (8 * GIB, GIB)],
        [(4 * GIB, GIB), (8 * GIB, 2 * GIB)],
    )
    assert left_alone("quiet", IOMEM) == ([], [])


def test_devices_get_the_cpus_that_were_isolated():
    scenario = loads('schema = 1\n[device.ssd]\nsize = "64M"\ncpus = 2\n', name="lab")

    def cpus(**facts):
        plan = make_plan(scenario, facts=Facts(cpus=16, **facts))
        return next(s.args["attributes"]["cpus"] for s in plan.steps if s.verb == "device.create")

    assert cpus() == "14-15"
    assert cpus(isolated=(7, 8, 10)) == "8,10"
    assert cpus(isolated=(7,)) == "14-15", "too few of them are none"


@pytest.mark.parametrize(("said", "found"), [("none", "none"), ("kvm", "kvm"), ("qemu", "tcg"), ("vmware", "vmware")])
def test_who_emulates_a_machine_is_what_systemd_says(said, found, tmp_path, monkeypatch):
    program = tmp_path / "systemd-detect-virt"
    program.write_text(f"#!/bin/sh\necho {said}\n[ {said} != none ]\n")
    program.chmod(0o755)
    monkeypatch.setattr("nvlab.host.virtual.PATH", str(tmp_path))
    assert virtualization(tmp_path) == found


@pytest.mark.parametrize(
    ("model", "flags", "found"),
    [
        ("Intel Core", "fpu hypervisor sse", "virtual"),
        ("Intel Core", "fpu sse", "none"),
        ("QEMU TCG CPU version 2.5+", "fpu hypervisor sse", "tcg"),
    ],
)
def test_without_systemd_the_cpu_says_whether_there_is_a_hypervisor(model, flags, found, tmp_path, monkeypatch):
    monkeypatch.setattr("nvlab.host.virtual.PATH", str(tmp_path))
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(f"model name\t: {model}\nflags\t\t: {flags}\n")
    assert virtualization(tmp_path) == found


# -- the controller ------------------------------------------------------------------------------------------------


class Answers(HostNode):
    """A host whose labs are these; what is taken down is written down."""

    name, where = "ssh:box", "on box"

    def __init__(self, labs, lost=None):
        self.labs, self.lost, self.downed = labs, lost, []

    def known(self):
        return {"node": "ssh", "host": "box"}

    def dial(self):
        if self.lost:
            raise self.lost
        return self

    def close(self):
        pass

    def call(self, name, args=None, emit=None, deadline=None):
        if name == "down":
            self.downed.append(args["lab"])
            self.labs = [lab for lab in self.labs if lab["lab"] != args["lab"]]
        return self.labs


def known_as(lab):
    write_json(controller._record_path(lab), {"lab": lab, "node": "ssh", "host": "box", "source": "x.toml"})


def lab(name, *, stale):
    return {"lab": name, "stale": stale, "complete": True, "layers": [], "events": [], "outputs": {}}


def test_down_stale_takes_what_a_reboot_has_left_and_nothing_else(monkeypatch):
    """Ours, and those that somebody else has a record of; a lab that is up stays, and so does its record."""
    node = Answers([lab("old", stale=True), lab("theirs", stale=True), lab("new", stale=False)])
    monkeypatch.setattr(places, "recorded", lambda known: node)
    known_as("old")
    known_as("new")
    states = {each["lab"]: each["state"] for each in controller.status()}
    assert states == {"old": "gone with a reboot", "new": "up"}
    assert controller.down_stale(print) == ["old", "theirs"]
    assert node.downed == ["old", "theirs"] and controller.labs() == ["new"]
    assert controller.down_stale(print) == []


def test_a_node_that_cannot_be_asked_is_said_and_its_labs_stay_known(monkeypatch):
    node = Answers([], EnvironmentNotReady("box cannot be reached by ssh: no route"))
    monkeypatch.setattr(places, "recorded", lambda known: node)
    known_as("old")
    said = []
    assert controller.down_stale(said.append) == [] and controller.labs() == ["old"]
    assert "not looked at on box: box cannot be reached" in said[0]["text"]
    assert "not to be seen (box cannot be reached" in controller.status()[0]["state"]
    assert json.dumps(controller.status())


def test_a_lab_of_a_guest_that_ended_is_stale(monkeypatch):
    write_json(controller._record_path("old"), {"lab": "old", **GuestNode("gone").known(), "source": "x.toml"})
    assert controller.down_stale(print) == ["old"] and controller.labs() == []
