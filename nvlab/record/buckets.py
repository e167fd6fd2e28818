# SPDX-License-Identifier: GPL-2.0-or-later
"""fio's log-linear latency buckets, so that our histograms and fio's are one and the same.

A value below 128 ns has a bucket of its own. Above, every power of two is cut into 64 equal buckets, so a bucket is at most
1/64 of its value wide. fio's JSON+ names a bucket by the value in its middle. (fio 3.x, stat.c: 29 groups of 64 buckets.)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

GROUPS, PER_GROUP = 29, 64
COUNT = GROUPS * PER_GROUP
_MANTISSA_SHIFT = 52 - 6  # a double's top six mantissa bits are the place within the power of two
_FIRST_GROUP = (1023 + 5) << 6  # exponent of 64 ns, as it stands above those six bits, less one group
_CEILING = 1 << 40  # beyond the last bucket, and exact in a double


def bucket_of(latency: ArrayLike) -> NDArray[np.int64]:
    """The bucket of each latency in ns (any integer shape, not negative); what exceeds the last bucket is counted in it."""
    value = np.minimum(np.asarray(latency).astype(np.uint64), np.uint64(_CEILING))
    place = (value.astype(np.float64).view(np.int64) >> _MANTISSA_SHIFT) - _FIRST_GROUP
    small = value.astype(np.int64)
    return np.minimum(np.where(small < PER_GROUP, small, place), COUNT - 1)


def middle_of(bucket: ArrayLike) -> NDArray[np.int64]:
    """The value in ns by which fio calls each bucket."""
    low, width = bounds_of(bucket)
    return low + width // 2


def bounds_of(bucket: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Lowest value and width in ns of each bucket."""
    index = np.asarray(bucket).astype(np.int64)
    shift = np.maximum((index >> 6) - 1, 0)
    linear = index < 2 * PER_GROUP
    low = np.where(linear, index, (np.int64(PER_GROUP) + (index & (PER_GROUP - 1))) << shift)
    return low, np.where(linear, np.int64(1), np.int64(1) << shift)
