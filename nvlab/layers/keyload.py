# SPDX-License-Identifier: GPL-2.0-or-later
"""`[workload.x.kv]`: a load of keys and values. Not a layer: a part of `workload`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from nvlab.errors import Problem
from nvlab.layers.fields import Doc, Duration, Sizes, Text, Whole
from nvlab.units import human_size

KINDS = ("store", "retrieve", "delete", "exist", "list")  # of commands, as the keys that say how many


@dataclass(frozen=True, kw_only=True)
class KeyLoad:
    """A load for a device with keys: all of them are stored first, then commands are drawn at random."""

    keys: Annotated[int, Whole(1, 1 << 26), Doc("how many there are; each is stored before the load begins")]
    value: Annotated[tuple[int, int], Sizes(0, 1 << 26), Doc("size of a value; of a range each size is as likely")] = (
        4096,
        4096,
    )
    key_size: Annotated[int, Whole(1, 16), Doc("bytes of a key")] = 16
    store: Annotated[int, Whole(0, 1_000_000), Doc("parts of the commands that store")] = 0
    retrieve: Annotated[int, Whole(0, 1_000_000), Doc("parts that retrieve")] = 0
    delete: Annotated[int, Whole(0, 1_000_000), Doc("parts that delete")] = 0
    exist: Annotated[int, Whole(0, 1_000_000), Doc("parts that ask whether a key exists")] = 0
    list: Annotated[int, Whole(0, 1_000_000), Doc("parts that list keys, 4 KiB of them at a time")] = 0
    distribution: Annotated[
        str,
        Text(r"uniform|zipf:[0-4]\.?\d{0,3}", '"uniform", or "zipf:0.99" with an exponent below 5'),
        Doc("which keys: each as likely, or the n-th as likely as 1 / n to the exponent"),
    ] = "uniform"
    iodepth: Annotated[int, Whole(1, 4096), Doc("commands in flight, of each job")] = 1
    numjobs: Annotated[int, Whole(1, 256), Doc("jobs side by side")] = 1
    runtime: Annotated[int, Duration(1), Doc("how long, after the ramp")] = 10 * 10**9
    ramp_time: Annotated[int, Duration(0), Doc("before anything is counted")] = 0
    number_ios: Annotated[int | None, Whole(1, 1 << 40), Doc("commands of each job at most (default: no limit)")] = None
    rate_iops: Annotated[int | None, Whole(1, 1 << 30), Doc("commands a second of each job at most (default: no limit)")] = None


def check(path: str, load: KeyLoad, largest: int) -> Iterator[Problem]:
    """What is wrong with a load on a device whose largest value has ``largest`` bytes."""
    if not any(getattr(load, kind) for kind in KINDS):
        yield Problem(path, "says of no command how many; for example store = 5, retrieve = 95")
    if load.keys > 256**load.key_size:
        yield Problem(f"{path}.keys", f"there are only {256**load.key_size} keys of {load.key_size} bytes; see key_size")
    if load.value[1] > largest:
        what = f"{human_size(load.value[1])} is more than the device's largest value, {human_size(largest)} (kv_value)"
        yield Problem(f"{path}.value", what)
