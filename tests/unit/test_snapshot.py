# SPDX-License-Identifier: GPL-2.0-or-later
"""`nvlab snapshot`: what a node reads at once arrives as it was, and nothing else comes of it. The device is in tests/vm."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from ends import Node
from hypothesis import given, settings
from hypothesis import strategies as st

from nvlab import snapshot
from nvlab.errors import Conflict, EnvironmentNotReady, Interrupted, NvlabError, StepFailed, UsageError
from nvlab.nodes import snapshot as far
from nvlab.nodes.agent import Stop
from nvlab.nodes.channel import pack_data
from nvlab.nodes.state import write_json

MIB = 1 << 20


def received(source: Path, target: Path, handlers: Any = far.HANDLERS) -> tuple[dict[str, Any], list[float]]:
    shares: list[float] = []
    with snapshot._whole(target, force=False) as fd, Node(handlers) as session:
        said = snapshot.receive(session, str(source), fd, shares.append)
    return said, shares


def sparse(path: Path, size: int, pieces: list[tuple[int, bytes]]) -> bytes:
    with path.open("wb") as file:
        for at, data in pieces:
            file.seek(at)
            file.write(data)
        file.truncate(size)
    return path.read_bytes()


PIECES = st.lists(st.tuples(st.integers(0, 5 * MIB), st.binary(max_size=300_000)), max_size=4)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 5 * MIB), PIECES)
def test_a_file_arrives_as_it_was(tmp_path_factory: pytest.TempPathFactory, size: int, pieces: list[tuple[int, bytes]]) -> None:
    base = tmp_path_factory.mktemp("snapshot")
    want = sparse(base / "source", size, pieces)
    said, shares = received(base / "source", base / "target")
    assert (base / "target").read_bytes() == want
    assert said["size"] == size and said["kept"] <= size + far.GRAIN
    assert shares == sorted(shares) and shares[-1:] in ([], [1.0])
    assert sorted(os.listdir(base)) == ["source", "target"]


def test_zeros_are_neither_sent_nor_stored(tmp_path: Path) -> None:
    sparse(tmp_path / "source", 200 * MIB, [(7 * MIB, b"x"), (150 * MIB, b"y" * 100_000)])
    said, _ = received(tmp_path / "source", tmp_path / "target")
    assert said["kept"] == 3 * far.GRAIN
    assert (tmp_path / "target").stat().st_size == 200 * MIB
    assert (tmp_path / "target").stat().st_blocks * 512 < MIB


@pytest.mark.parametrize("image", [0, 8, 2 * MIB + 8])
def test_what_the_core_knows_comes_without_the_content_of_blocks(tmp_path: Path, image: int) -> None:
    header = bytes(16) + image.to_bytes(8, "little") + b"h" * 40
    whole = header + b"i" * image + b"content" * MIB
    (tmp_path / "source").write_bytes(whole)
    with snapshot._whole(tmp_path / "target", force=False) as fd, Node(far.HANDLERS) as session:
        snapshot.receive(session, str(tmp_path / "source"), fd, lambda share: None, header=len(header))
    assert (tmp_path / "target").read_bytes() == whole[: len(header) + image]


def test_what_does_not_fit_into_the_nodes_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(far, "_free", lambda: far.SPARE + 2 * MIB)
    sparse(tmp_path / "source", 4 * MIB, [(0, b"x" * (3 * MIB))])
    with pytest.raises(EnvironmentNotReady, match="holds more than 2 MiB"):
        received(tmp_path / "source", tmp_path / "target")
    assert os.listdir(tmp_path) == ["source"]


def test_a_device_that_went_away_is_a_conflict(tmp_path: Path) -> None:
    with pytest.raises(Conflict, match="not there any more"):
        received(tmp_path / "none", tmp_path / "target")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (errno.EBUSY, Conflict, "somebody else copies the device"),
        (errno.ESTALE, StepFailed, "changed while it was copied"),
        (errno.EIO, StepFailed, "cannot be read: Input/output error"),
    ],
)
def test_what_the_module_refuses_is_said(number: int, kind: type[Exception], words: str) -> None:
    problem = far._problem(OSError(number, os.strerror(number)))
    assert type(problem) is kind and words in str(problem)


def test_a_stop_ends_the_reading_at_once(tmp_path: Path) -> None:
    sparse(tmp_path / "source", 4 * MIB, [(0, b"x")])
    stop = Stop()
    stop.request(1)
    with pytest.raises(Interrupted):
        far.snapshot({"path": str(tmp_path / "source")}, lambda event: None, stop)


def test_what_arrives_otherwise_than_it_was_sent_is_not_kept(tmp_path: Path) -> None:
    def bent(args: Any, emit: Any, stop: Any) -> dict[str, Any]:
        said = far.snapshot(args, lambda event: emit(event | ({"data": pack_data(b"bent")} if "data" in event else {})), stop)
        return dict(said)

    sparse(tmp_path / "source", 4 * MIB, [(0, b"x")])
    with pytest.raises(NvlabError, match="not what the node sent"):
        received(tmp_path / "source", tmp_path / "target", {"snapshot": bent})
    assert os.listdir(tmp_path) == ["source"]


# -- the file ------------------------------------------------------------------------------------------------------


def test_a_file_that_exists_is_replaced_only_when_told_and_only_by_a_whole_one(tmp_path: Path) -> None:
    path = tmp_path / "old"
    path.write_text("precious")
    with pytest.raises(UsageError, match="exists") as caught, snapshot._whole(path, force=False):
        pytest.fail("it must not come so far")
    assert "--force" in (caught.value.hint or "")
    with pytest.raises(ZeroDivisionError), snapshot._whole(path, force=True) as fd:
        os.write(fd, b"half")
        raise ZeroDivisionError
    assert path.read_text() == "precious" and os.listdir(tmp_path) == ["old"]
    with snapshot._whole(path, force=True) as fd:
        os.write(fd, b"new")
        assert path.read_text() == "precious"
    assert path.read_text() == "new" and os.listdir(tmp_path) == ["old"]


def test_nobody_takes_its_name_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "mine"
    with snapshot._whole(path, force=False), pytest.raises(FileExistsError):
        os.open(path, os.O_CREAT | os.O_EXCL)
    with pytest.raises(KeyboardInterrupt), snapshot._whole(tmp_path / "other", force=False):
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == ["mine"]


def test_where_nothing_can_be_written_nothing_is(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentNotReady, match="cannot write"), snapshot._whole(tmp_path / "no/where", force=False):
        pytest.fail("it must not come so far")
    with pytest.raises(UsageError, match="is no file"), snapshot._whole(tmp_path, force=True):
        pytest.fail("it must not come so far")


# -- which device --------------------------------------------------------------------------------------------------


def test_which_device_it_is_must_be_said_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nvlab.planner import make_plan
    from nvlab.scenario import loads

    monkeypatch.setenv("NVLAB_STATE", str(tmp_path))
    text = 'schema = 1\n[device.ssd]\nsize = "64M"\ncount = 2\n[disk.plain]\nsize = "64M"\n'
    plan = make_plan(loads(text), "mine")
    known = {"lab": "mine", "plan": plan.to_json(), "node": "vm", "guest": "none-such"}
    assert snapshot._state_file(known, "ssd.2") == "/dev/nvlab-state-nvlab-mine-ssd-2"
    with pytest.raises(UsageError, match="no virtual device 'plain'") as caught:
        snapshot._state_file(known, "plain")
    assert caught.value.hint == "there is: ssd.1, ssd.2"
    with pytest.raises(Conflict, match="half up"):
        snapshot._state_file({"lab": "mine"}, "ssd")
    with pytest.raises(Conflict, match="is not up"):
        snapshot.snapshot("mine", "ssd.1", tmp_path / "file", print)
    write_json(tmp_path / "labs/mine.json", known)
    with pytest.raises(Conflict, match="gone with its guest"):
        snapshot.snapshot("mine", "ssd.1", tmp_path / "file", print)
    assert not (tmp_path / "file").exists()
