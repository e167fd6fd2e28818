# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel to test against: it models what nvlab touches, refuses what Linux refuses, and can die at every point."""

from nvlab.kernel.fake.kernel import Crash, FakeKernel, Fuse
from nvlab.kernel.fake.world import World

__all__ = ["Crash", "FakeKernel", "Fuse", "World"]
