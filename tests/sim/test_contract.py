# SPDX-License-Identifier: GPL-2.0-or-later
"""The fake answers as Linux does: the same list of cases that runs in real guests."""

import importlib.util
import sys

import pytest
from machine import MODULE, ROOT, Machine

from nvlab.kernel.fake import FakeKernel


def _load():
    spec = importlib.util.spec_from_file_location("contract", ROOT / "tests/vm/guest/contract.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["contract"] = module
    spec.loader.exec_module(module)
    return module


contract = _load()


@pytest.mark.parametrize("release", ["6.1.0", "6.12.0"])
@pytest.mark.parametrize("one", contract.CASES, ids=lambda one: one.name)
def test_the_fake_answers_as_linux_does(one, release, tmp_path):
    world = Machine(tmp_path).world
    world.release = release
    kernel = FakeKernel(world)
    contract.prepare(kernel, MODULE)
    before = world.snapshot()
    assert contract.run(kernel, one, MODULE) == one.expected(release)
    assert world.snapshot() == before
