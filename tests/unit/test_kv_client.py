# SPDX-License-Identifier: GPL-2.0-or-later
"""The client of key value namespaces: what its commands look like, what it makes of answers."""

from __future__ import annotations

import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvlab import kv
from nvlab.sim import Opcode, Status, StoreOption, key_commands, key_list
from nvlab.sim.keys import MAX_KEY
from nvlab.sim.structs import KeyOpcode
from tests.unit.kvdrive import drive, keys_of, store

KEYS = st.binary(min_size=1, max_size=16)


def words(command: bytes) -> dict[str, int]:
    """``struct nvme_passthru_cmd`` of include/uapi/linux/nvme_ioctl.h, field by field."""
    names = ["opcode", "flags", "rsvd1", "nsid", "cdw2", "cdw3", "metadata", "addr", "metadata_len", "data_len"]
    names += [f"cdw{n}" for n in range(10, 16)]
    return dict(zip([*names, "timeout_ms", "result"], struct.unpack("<BBHIIIQQII6III", command), strict=True))


def test_the_command_is_of_the_size_that_its_ioctl_says() -> None:
    assert len(kv.packed(kv.Opcode.STORE, 1)) == 0xC0484E43 >> 16 & 0x3FFF


@given(KEYS, st.integers(0, 1 << 20), st.integers(0, 3))
def test_a_key_is_where_the_core_looks_for_it(key: bytes, size: int, option: int) -> None:
    found = words(kv.packed(kv.Opcode.STORE, 7, key, size, option, address=4096))
    core = key_commands(KeyOpcode.STORE, [key], size, option=option)[0]
    assert found["cdw2"] | found["cdw3"] << 32 == core["slba"]
    assert found["cdw14"] | found["cdw15"] << 32 == core["key"]
    assert (found["cdw10"], found["cdw11"] & 0xFF, found["cdw11"] >> 8) == (core["nlb"], core["action"], core["option"])
    assert (found["opcode"], found["nsid"], found["data_len"]) == (1, 7, size)
    assert found["addr"] == (4096 if size else 0), "the driver maps no memory of a command without data"


def test_a_key_that_is_too_long_is_not_mistaken_for_another() -> None:
    assert words(kv.packed(kv.Opcode.EXIST, 1, b"k" * 17))["cdw11"] == 17
    assert words(kv.packed(kv.Opcode.EXIST, 1, b"k" * 1000))["cdw11"] == 255


def test_its_numbers_are_those_of_the_core() -> None:
    assert {o.name: int(o) for o in kv.Opcode} == {o.name: int(o) for o in KeyOpcode} | {"FLUSH": int(Opcode.FLUSH)}
    assert {s.name: int(s) for s in kv.Status} == {s.name: int(Status[s.name]) & 0x7FF for s in kv.Status}
    assert (StoreOption.REPLACE, StoreOption.ADD, MAX_KEY) == (1, 2, kv.MAX_KEY)


@given(st.sets(KEYS, max_size=60), st.integers(4, 400))
def test_a_list_is_read_as_the_core_wrote_it(keys: set[bytes], room: int) -> None:
    device = drive()
    for key in keys:
        store(device, key, 0)
    everything = keys_of(device)
    assert set(everything) == keys
    command = key_commands(KeyOpcode.LIST, [b""], room)
    device.submit(command)
    some = key_list(device, command)
    assert some == everything[: len(some)]


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (0x4087, kv.KeyNotFoundError, "Retrieve: key does not exist"),
        (0x4089, kv.KeyExistsError, "Retrieve: key exists"),
        (0x0081, kv.FullError, "Retrieve: capacity exceeded"),
        (0x4086, kv.KeyValueError, "Retrieve: invalid key size"),
        (0x02FF, kv.KeyValueError, "Retrieve: status 0x2ff"),
    ],
)
def test_a_status_is_an_exception_that_says_its_name(status: int, kind: type[kv.KeyValueError], words: str) -> None:
    error = kv.error_of(kv.Opcode.RETRIEVE, status)
    assert type(error) is kind and str(error) == words and error.status == status & 0x7FF
    assert isinstance(error, KeyError) == (kind is kv.KeyNotFoundError)


def test_what_is_no_namespace_is_not_opened(tmp_path: os.PathLike[str]) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="Inappropriate ioctl"):
        kv.Store("/dev/null")
    with pytest.raises(FileNotFoundError):
        kv.Store(os.path.join(tmp_path, "ng0n1"))
    assert len(os.listdir("/proc/self/fd")) == before
