# SPDX-License-Identifier: GPL-2.0-or-later
"""The line between controller and node: framing, sessions, calls, interrupts, errors, files. Both ends real, in one process."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from ends import Node, line
from hypothesis import given
from hypothesis import strategies as st

from nvlab import errors
from nvlab.errors import (
    DeadlineExceeded,
    EnvironmentNotReady,
    GuestLost,
    Interrupted,
    InvalidScenario,
    NvlabError,
    Problem,
    StepFailed,
    UsageError,
)
from nvlab.kernel.interface import CommandFailed, Completed
from nvlab.nodes import agent, basics, channel, guest, shell
from nvlab.nodes.channel import AgentDied, Channel, LineClosed, pack_data, pack_error, unpack_data, unpack_error
from nvlab.nodes.session import Session

HANDLERS = {**basics.HANDLERS, **shell.HANDLERS}


# -- framing ---------------------------------------------------------------------------------------------------


@given(st.lists(st.dictionaries(st.text(), st.text() | st.integers() | st.lists(st.text())), max_size=5))
def test_messages_arrive_whole_and_in_order(messages):
    here, there = line()
    for message in messages:
        here.send(message)
    assert [there.receive(time.monotonic() + 60) for _ in messages] == messages
    here.close()
    there.close()


@given(st.binary(max_size=200_000))
def test_data_survive_and_never_hold_a_session_mark(data):
    assert unpack_data(pack_data(data)) == data
    assert channel.START not in json.dumps({"data": pack_data(data)}).encode()


def test_a_message_larger_than_the_socket_buffers_passes():
    here, there = line()
    big = {"data": "x" * 3_000_000}
    thread = threading.Thread(target=here.send, args=(big,))
    thread.start()
    assert there.receive(time.monotonic() + 10) == big
    thread.join()


def test_receive_ends_at_its_deadline():
    here, _there = line()
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        here.receive(started + 0.1)
    assert 0.1 <= time.monotonic() - started < 2


def test_send_ends_at_its_deadline_when_nobody_reads():
    here, _there = line()
    with pytest.raises(TimeoutError):
        here.send({"data": "x" * 10_000_000}, time.monotonic() + 0.1)


def test_the_end_of_the_line_is_told_from_a_slow_one():
    here, there = line()
    there.close()
    with pytest.raises(LineClosed):
        here.receive(time.monotonic() + 60)


def test_the_rest_of_an_earlier_session_is_dropped():
    """A virtio-serial port may still carry the last words of the agent before, cut anywhere."""
    here, there = line()
    os.write(there.writer, b'{"event":{"old":1}}\n{"resu')
    there.hello("theirs")
    os.write(there.writer, b'lt":2}\n')
    there.hello("mine", pid=7)
    assert here.await_hello("mine", time.monotonic() + 60)["pid"] == 7


def test_a_node_whose_process_ended_before_its_hello_is_told_from_a_slow_one():
    near, far = line()
    far._write(b'{"died":9}\n')
    with pytest.raises(AgentDied):
        Session(near).open(time.monotonic() + 60)
    near.close()
    far.close()


class Relayed(guest.Port):
    """A relay's port on whose line come the items of ``says``: bytes, its end (empty), or nothing yet (None)."""

    def __init__(self, says):
        self.says, self.ends, self.to_host, self.to_agent = list(says), None, bytearray(), bytearray()
        self.agent, self.pid, self.agents = -1, 0, []
        self.fd = os.open(os.devnull, os.O_WRONLY)
        self.poll, self.spawn = select.epoll(), self._spawn

    def _spawn(self):
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self.agents.append(theirs)
        return len(self.agents), ours.detach()

    def _read(self):
        return self.says.pop(0) if len(self.says) > 1 else self.says[0]


def test_a_relay_takes_the_late_end_of_one_session_not_for_that_of_the_next(monkeypatch):
    """A kernel may hand over the first words of a session before it says that the one before it was hung up."""
    monkeypatch.setattr(guest, "HANG_UP", 0.05)
    port = Relayed([channel.START + b"one\n", None, channel.START + b"two\n", b"", None])
    port.pump()
    port.pump()
    first, second = port.agents
    assert first.recv(100) == channel.START + b"one\n" and first.recv(100) == b"", "the new session ends the old one"
    time.sleep(0.1)  # longer than an end must last: nothing of this one may be remembered
    port.pump()
    second.setblocking(False)
    assert second.recv(100) == channel.START + b"two\n"
    with pytest.raises(BlockingIOError):
        second.recv(100)
    port.says = [b""]
    deadline = time.monotonic() + 60
    while port.pid and time.monotonic() < deadline:
        port.pump()
    assert second.recv(100) == b"", "an end that lasts is one"


def test_another_version_of_the_channel_is_refused():
    here, there = line()

    def old_agent():
        session = there.await_hello()["session"]
        os.write(there.writer, channel.START + json.dumps({"hello": {"nvlab": 0, "session": session}}).encode() + b"\n")

    threading.Thread(target=old_agent).start()
    with pytest.raises(EnvironmentNotReady, match="version 0"):
        Session(here).open(time.monotonic() + 60)


# -- calls -----------------------------------------------------------------------------------------------------


def test_a_call_returns_its_result_and_its_events_in_order():
    def count(args, emit, stop):
        for n in range(args["to"]):
            emit({"n": n})
        return {"counted": args["to"]}

    seen = []
    with Node({"count": count}) as session:
        assert session.call("count", {"to": 100}, seen.append, 5) == {"counted": 100}
        assert session.call("count", {"to": 0}, deadline=60) == {"counted": 0}
    assert seen == [{"n": n} for n in range(100)]


def test_hello_tells_who_answers():
    with Node({}) as session:
        assert session.node["pid"] == os.getpid()
        assert session.node["release"] == os.uname().release


def test_an_unknown_name_is_an_error_not_a_hang():
    with Node({}) as session, pytest.raises(UsageError, match="dance"):
        session.call("dance", deadline=60)


def test_beats_keep_a_long_call_alive_and_their_absence_ends_it(monkeypatch):
    monkeypatch.setattr(agent, "BEAT", 0.05)

    def slow(args, emit, stop):
        enough.wait(3)
        return "done"

    enough = threading.Event()
    with Node({"slow": slow}, silence=2) as session:
        assert session.call("slow") == "done"
    monkeypatch.setattr(agent, "BEAT", 3600.0)
    try:
        with Node({"slow": lambda args, emit, stop: enough.wait(600)}, silence=0.3) as session:
            with pytest.raises(GuestLost, match="no sign of life"):
                session.call("slow")
            enough.set()
    finally:
        enough.set()


def test_a_deadline_stops_the_handler():
    stopped = threading.Event()

    def wait(args, emit, stop):
        while not stop.requested:
            time.sleep(0.01)
        stopped.set()

    with Node({"wait": wait}) as session, pytest.raises(DeadlineExceeded, match="wait"):
        session.call("wait", deadline=0.2)
    assert stopped.wait(30)


def test_a_lost_controller_stops_the_handler_which_can_still_finish():
    finished = threading.Event()

    def make(args, emit, stop):
        emit({"at": "work"})
        while not stop.requested:
            time.sleep(0.01)
        emit({"at": "undo"})  # to nobody
        finished.set()

    with Node({"make": make}) as session:
        session.begin("make")
        session.channel.receive(time.monotonic() + 60)
    assert finished.wait(30)


def test_ctrl_c_asks_to_undo_and_a_second_one_to_leave():
    """Real SIGINTs: the first while the handler works, the second while it undoes."""
    levels = []

    def up(args, emit, stop):
        os.kill(os.getpid(), signal.SIGINT)
        while stop.requested < 1:
            time.sleep(0.01)
        levels.append(stop.requested)
        os.kill(os.getpid(), signal.SIGINT)
        while stop.requested < 2:
            time.sleep(0.01)
        levels.append(stop.requested)
        stop.check()

    with Node({"up": up}) as session, pytest.raises(Interrupted):
        session.call("up", deadline=60)
    assert levels == [1, 2]


def test_ctrl_c_while_an_event_is_shown_asks_to_undo_as_well():
    levels = []

    def up(args, emit, stop):
        emit({"kind": "layer"})
        while stop.requested < 1:
            time.sleep(0.01)
        levels.append(stop.requested)
        stop.check()

    def show(event):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)  # the signal ends it

    with Node({"up": up}) as session, pytest.raises(Interrupted):
        session.call("up", on_event=show, deadline=60)
    assert levels == [1]


def test_a_stop_wakes_who_polls_for_it():
    import select

    def wait(args, emit, stop):
        select.select([stop], [], [], 5)
        return stop.requested

    with Node({"wait": wait}) as session:
        session.begin("wait")
        session.interrupt(1)
        assert session.finish("wait", deadline=60) == 1


def test_what_is_killed_is_reported_as_killed():
    here, there = line()
    there.send({"died": 9})
    session = Session(here)
    for verb in ("up", "status"):  # and nobody waits for an answer to the next call
        with pytest.raises(AgentDied, match="signal 9 during 'up'"):
            session.call(verb, deadline=60)


# -- errors ----------------------------------------------------------------------------------------------------

EXAMPLES = [
    cls("it failed", hint="do this", kmsg=("one", "two"))
    for cls in vars(errors).values()
    if isinstance(cls, type) and issubclass(cls, NvlabError) and cls not in (InvalidScenario, GuestLost)
]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda e: type(e).__name__)
def test_every_error_comes_back_as_itself(error):
    again = unpack_error(json.loads(json.dumps(pack_error(error))))
    assert type(again) is type(error)
    assert (again.message, again.hint, again.kmsg, str(again)) == ("it failed", "do this", ("one", "two"), "it failed")
    assert again.exit_code == error.exit_code


def test_errors_with_more_to_say_keep_it():
    lost = unpack_error(pack_error(GuestLost("gone", console=["a", "b"])))
    assert isinstance(lost, GuestLost) and lost.console == ("a", "b")
    invalid = unpack_error(json.loads(json.dumps(pack_error(InvalidScenario("x.toml", [Problem("raid.md", "no")])))))
    assert isinstance(invalid, InvalidScenario)
    assert invalid.problems == (Problem("raid.md", "no"),) and "raid.md: no" in str(invalid)


def test_a_message_changed_after_the_fact_is_the_one_that_travels():
    error = StepFailed("no space")
    error.message = "raid.md: no space"
    assert str(unpack_error(pack_error(error))) == "raid.md: no space"


def test_a_subclass_travels_as_the_class_the_controller_knows():
    error = CommandFailed(Completed(("mdadm", "--create"), 1, "", "busy"))
    again = unpack_error(json.loads(json.dumps(pack_error(error))))
    assert type(again) is next(c for c in CommandFailed.__mro__ if hasattr(errors, c.__name__))
    assert again.message == error.message


def test_a_defect_keeps_its_traceback():
    def broken(args, emit, stop):
        return {}["nothing"]

    with Node({"broken": broken}) as session, pytest.raises(NvlabError) as caught:
        session.call("broken", deadline=60)
    assert "KeyError" in caught.value.message
    assert "in broken" in caught.value.__notes__[0]


# -- what every node can do ------------------------------------------------------------------------------------


def test_exec_returns_code_and_both_outputs():
    with Node(HANDLERS) as session:
        done = session.run(["sh", "-c", "echo out; echo err >&2; exit 3"])
        assert done == {"code": 3, "out": "out\n", "err": "err\n"}
        assert session.run(["sh", "-c", "kill -9 $$"])["code"] == -9
        assert session.run(["cat"], stdin="x" * 200_000)["out"] == "x" * 200_000
        assert session.run(["pwd"], cwd="/")["out"] == "/\n"
        assert session.run(["sh", "-c", "echo $WHO"], env={"WHO": "me"})["out"] == "me\n"


def test_exec_of_nothing_says_so():
    with Node(HANDLERS) as session, pytest.raises(StepFailed, match="cannot run /no/such: No such file"):
        session.run(["/no/such"])


def test_exec_ends_at_its_timeout_with_all_it_started(tmp_path):
    pids = tmp_path / "pids"
    timeout = 0.5
    while not pids.exists() or not pids.read_text().endswith("\n"):  # a busy host may need longer to start anything
        timeout *= 2
        with Node(HANDLERS) as session, pytest.raises(DeadlineExceeded, match=rf"sh did not end within {timeout} s"):
            session.run(["sh", "-c", f"sleep 1000 & echo $! $$ > {pids}; wait"], timeout=timeout)
    for pid in pids.read_text().split():
        assert _gone(int(pid)), f"process {pid} was left running"


def _gone(pid: int) -> bool:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False


def test_a_directory_comes_over_as_it_is(tmp_path):
    source, target = tmp_path / "run", tmp_path / "here"
    (source / "logs").mkdir(parents=True)
    (source / "run.json").write_text("{}")
    (source / "logs" / "big.npy").write_bytes(os.urandom(3_000_000))
    (source / "latest").symlink_to("run.json")
    with Node(HANDLERS) as session:
        assert session.fetch(str(source), target) > 3_000_000
    assert (target / "logs" / "big.npy").read_bytes() == (source / "logs" / "big.npy").read_bytes()
    assert (target / "latest").readlink() == (source / "latest").readlink()


def test_fetching_what_is_not_there_says_so(tmp_path):
    with Node(HANDLERS) as session, pytest.raises(NvlabError, match="does not exist"):
        session.fetch("/no/such/run", tmp_path)


def test_files_go_over_too(tmp_path):
    source, target = tmp_path / "nvlab.ko", tmp_path / "node"
    source.write_bytes(os.urandom(1_000_000))
    with Node(HANDLERS) as session:
        session.put(source, str(target))
        session.put(tmp_path / "node", str(tmp_path / "again"))
    assert (target / "nvlab.ko").read_bytes() == (tmp_path / "again" / "nvlab.ko").read_bytes() == source.read_bytes()


def test_a_shell_on_pipes_passes_everything_through():
    with Node(HANDLERS) as session:
        out = {"out": b"", "err": b""}

        def collect(event):
            for name, data in event.items():
                out[name] += unpack_data(data)

        session.begin("shell", {"argv": ["sh", "-c", "cat; echo e >&2; exit 5"]})
        session.send({"data": pack_data(b"hello\n")})
        session.send({"end": True})
        assert session.finish("shell", collect, 5) == {"code": 5}
    assert out == {"out": b"hello\n", "err": b"e\n"}


def test_a_shell_on_a_terminal_has_its_size_and_job_control():
    with Node(HANDLERS) as session:
        out = bytearray()
        args = {"argv": ["sh", "-c", "stty size; test -t 0 && tty -s && ps -o tty= -p $$"], "size": [33, 101]}
        result = session.call("shell", args, lambda e: out.extend(unpack_data(e["out"])), 5)
    assert result == {"code": 0}
    assert b"33 101" in out and b"pts/" in out


def test_hanging_up_ends_the_shell(tmp_path):
    pid_file = tmp_path / "pid"
    with Node(HANDLERS) as session:
        session.begin("shell", {"argv": ["sh", "-c", f"echo $$ > {pid_file}; sleep 100"], "size": [24, 80]})
        deadline = time.monotonic() + 60
        while not (pid_file.exists() and pid_file.read_text().strip()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert _gone(int(pid_file.read_text()))


# -- the node's side -------------------------------------------------------------------------------------------


def test_the_agent_serves_over_stdio_and_imports_nothing_heavy():
    """As ssh will run it. What the handlers print must not get into the line."""
    process = subprocess.Popen(
        [sys.executable, "-m", "nvlab.nodes.agent", "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    here = Channel(os.dup(process.stdout.fileno()), os.dup(process.stdin.fileno()))
    process.stdin.close()
    process.stdout.close()
    with Session(here).open(time.monotonic() + 20) as session:
        assert session.call("ping", deadline=60)["pid"] == process.pid
    assert process.wait(30) == 0


def test_the_nodes_side_imports_neither_pydantic_nor_numpy():
    code = (
        "import sys, nvlab.nodes.agent, nvlab.nodes.guest, nvlab.nodes.handlers;"
        "print([m for m in ('pydantic', 'numpy', 'matplotlib', 'rich', 'nvlab.scenario', 'nvlab.cli') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
