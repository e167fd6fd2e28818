# SPDX-License-Identifier: GPL-2.0-or-later
"""The ledger: what each block says of itself, the verdict on what is found, and the writer on a file."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_scenario import problems

from nvlab.errors import StepFailed
from nvlab.record.convert import convert_workload
from nvlab.record.recorder import Workload, run_workload
from nvlab.workload import ledger as ledgers
from nvlab.workload.fio import Target
from nvlab.workload.ledger import DAMAGED, FOREIGN, SECTOR, Ledger, Writer, judge, read_back, stamped, writes_of

RUN = bytes(range(16))


@given(st.integers(0, 2**63), st.integers(1, 2**63), st.sampled_from([512, 4096, 65536]))
def test_a_block_says_which_it_is(block, write, size):
    content = stamped(RUN, block, write, size)
    assert len(content) == size
    assert writes_of(RUN, block, content) == [write] * (size // SECTOR)
    assert writes_of(RUN, block + 1, content) == [DAMAGED] * (size // SECTOR), "written elsewhere"
    assert writes_of(bytes(16), block, content) == [FOREIGN] * (size // SECTOR), "of another run"


@given(st.integers(0, 4095), st.integers(1, 255))
def test_a_single_wrong_byte_is_seen(at, change):
    content = bytearray(stamped(RUN, 5, 7, 4096))
    content[at] ^= change
    wrong = writes_of(RUN, 5, bytes(content)).pop(at // SECTOR)
    assert wrong in (DAMAGED, FOREIGN), "FOREIGN where the byte is of the run's name"
    assert wrong == DAMAGED or at % SECTOR < 24


def test_sectors_that_changed_places_are_seen():
    content = stamped(RUN, 5, 7, 1024)
    assert writes_of(RUN, 5, content[512:] + content[:512]) == [DAMAGED, DAMAGED]


def one(durable: int, acknowledged: int, begun: int) -> Ledger:
    return Ledger(RUN.hex(), 1024, [begun], [acknowledged], [durable], writes=begun)


@pytest.mark.parametrize(
    ("found", "word"),
    [
        ([4, 4], "kept"),
        ([3, 3], "kept"),
        ([2, 2], "unflushed"),
        ([1, 1], "lost"),
        ([FOREIGN, FOREIGN], "lost"),
        ([3, 4], "torn"),
        ([2, 4], "torn"),
        ([1, 4], "lost"),
        ([5, 5], "damaged"),
        ([DAMAGED, 4], "damaged"),
    ],
)
def test_a_block_is_judged_by_what_it_must_and_may_be(found, word):
    """Durable is write 2, acknowledged 3, begun 4."""
    verdict = judge(one(2, 3, 4), iter([(0, found)]))
    words = {key: value for key, value in asdict(verdict).items() if key in ("kept", "unflushed", "torn", "lost", "damaged")}
    assert words == dict.fromkeys(words, 0) | {word: 1}
    assert verdict.blocks == ({} if word == "kept" else {word: [0]})


def test_a_block_that_was_never_written_is_not_judged():
    verdict = judge(one(0, 0, 0), iter([(0, [FOREIGN, DAMAGED])]))
    assert (verdict.kept, verdict.damaged, verdict.acknowledged) == (0, 0, 0)


@given(st.data())
def test_what_any_power_cut_may_leave_is_never_called_lost(data):
    """Whatever of the writes after the last flush has reached the medium, the verdict finds nothing lost."""
    durable = data.draw(st.integers(0, 5))
    acknowledged = data.draw(st.integers(durable, 8))
    begun = data.draw(st.integers(max(acknowledged, 1), 9))
    found = data.draw(st.lists(st.integers(durable, begun), min_size=2, max_size=2))
    verdict = judge(one(durable, acknowledged, begun), iter([(0, found)]))
    assert (verdict.lost, verdict.damaged) == (0, 0)
    assert verdict.kept + verdict.unflushed + verdict.torn == 1


# -- the writer ------------------------------------------------------------------------------------------------------


@pytest.fixture
def target():
    """A file on a file system that does direct I/O; tmpfs does not everywhere."""
    directory = Path(tempfile.mkdtemp(dir=Path(__file__).parent))
    path = directory / "target"
    path.write_bytes(bytes(1 << 20))
    yield path
    shutil.rmtree(directory)


def written(target: Path, **job: str) -> Writer:
    keys = {"rw": "randwrite", "bs": "4k", "size": "256k", "iodepth": "4", "runtime": "300ms", "fsync": "8"}
    writer = Writer(str(target), keys | job, 1)
    writer.work()
    return writer


def test_all_that_was_written_is_found(target):
    ledger = written(target).ledger
    assert ledger.writes > 8 and ledger.flushes > 0 and not ledger.error
    assert ledger.begun == ledger.acknowledged
    assert all(durable <= acknowledged for durable, acknowledged in zip(ledger.durable, ledger.acknowledged, strict=True))
    verdict = judge(ledger, read_back(ledger, str(target)))
    assert verdict.kept == verdict.acknowledged == sum(map(bool, ledger.begun))
    assert (verdict.unflushed, verdict.torn, verdict.lost, verdict.damaged) == (0, 0, 0, 0)


def test_what_falls_back_is_found_out(target):
    """As if a drive had lied about a flush, a write had been half done, and one had gone astray."""
    writer = written(target, rw="write", iodepth="1", size="16k", fsync="1")
    ledger, run = writer.ledger, writer.run
    blocks = [stamped(run, n, ledger.durable[n], 4096) for n in range(4)]
    blocks[0] = stamped(run, 0, ledger.durable[0] - 1, 4096)
    ledger.begun[1] += 1
    blocks[1] = stamped(run, 1, ledger.begun[1], 4096)[:2048] + blocks[1][2048:]
    blocks[2] = blocks[3]
    with target.open("r+b") as file:
        file.write(b"".join(blocks))
        os.fsync(file.fileno())
    verdict = judge(ledger, read_back(ledger, str(target)))
    assert verdict.blocks == {"lost": [0], "torn": [1], "damaged": [2]}
    assert (verdict.kept, verdict.lost, verdict.torn, verdict.damaged) == (1, 1, 1, 1)


def test_an_io_that_fails_ends_the_load_and_is_named(target):
    full = Writer(str(target), {"rw": "write", "bs": "4k", "size": "256k", "runtime": "60s"}, 1)
    os.close(full.fd)
    full.fd = os.open(target, os.O_RDONLY)  # as a drive that takes no more writes
    full.work()
    assert full.ledger.error.startswith("EBADF")
    assert full.ledger.begun[0] == 1 and full.ledger.acknowledged[0] == 0


def test_the_recorder_runs_it_as_it_runs_fio(target, tmp_path, heard, stop):
    work = Workload(
        name="acknowledged",
        target=Target("device", str(target)),
        table={"rw": "randwrite", "bs": "4k", "size": "256k", "iodepth": 2, "runtime": "1s", "fsync": 8},
        ledger=True,
    )
    out = tmp_path / "out"
    record = run_workload(out, work, heard, stop)
    assert record["verdict"]["lost"] == 0 and record["verdict"]["kept"] == record["verdict"]["acknowledged"] > 0
    assert json.loads((out / "workload.json").read_text())["verdict"] == record["verdict"]
    assert heard.kinds()[-2:] == ["verdict", "end"]
    assert any(event["rates"] for event in heard.events if event["kind"] == "progress")
    convert_workload(out)
    (result,) = json.loads((out / "results.json").read_text())["results"]
    assert (result["op"], result["ios"], result["errors"]) == ("write", record["verdict"]["writes"], 0)


def test_a_target_that_is_gone_is_said(target, tmp_path, heard, stop):
    work = Workload(
        name="gone",
        target=Target("device", str(target)),
        table={"rw": "write", "size": "256k", "runtime": "300ms"},
        ledger=True,
    )
    with pytest.raises(StepFailed, match=r"cannot be read back: .*No such file"):
        run_workload(tmp_path / "out", work, heard, stop, where=lambda: str(tmp_path / "none"))


def test_the_module_is_a_program(target):
    done = subprocess.run(
        ledgers.argv("verify", "/nowhere", str(target)), capture_output=True, text=True, env=ledgers.environment()
    )
    assert done.returncode == 1 and "ledger.json" in done.stderr


# -- in a scenario ---------------------------------------------------------------------------------------------------


def said(job: str, more: str = "") -> list[tuple[str, str]]:
    return problems(f'[disk.d]\nsize = "64M"\n{more}[workload.w]\non = "d"\nledger = true\nfio = {{ {job} }}\n')


RIGHT = 'rw = "randwrite", size = "16M", runtime = "10s"'


def test_a_ledger_is_told_in_fio_s_words():
    assert said(f'{RIGHT}, bs = "8k", iodepth = 4, fsync = 32') == []


@pytest.mark.parametrize(
    ("job", "where", "what"),
    [
        (f'{RIGHT}, verify = "crc32c"', "verify", "a ledger's load has not got this"),
        (RIGHT.replace("randwrite", "randrw"), "rw", "randrw is not what a ledger is about; write or randwrite"),
        ('rw = "write", size = "16M"', "runtime", "is missing; a ledger's load needs it"),
        ('rw = "write", runtime = "1s"', "size", "is missing; a ledger's load needs it"),
        (RIGHT.replace("16M", "50%"), "size", "is a share; write a size, such as 64M"),
        (f'{RIGHT}, bs = "512"', "bs", "a ledger's blocks are of one size, a multiple of 4K"),
        ('rw = "write", size = "16k", runtime = "1s", iodepth = 8', "size", "has not a block for each I/O in flight"),
    ],
)
def test_what_a_ledger_cannot_do_is_said(job, where, what):
    ((at, why),) = said(job)
    assert at == f"workload.w.fio.{where}"
    assert why.startswith(what)
