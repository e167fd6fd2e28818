# SPDX-License-Identifier: GPL-2.0-or-later
"""Real kernels answer the contract's cases as the fake kernel does (tests/sim/test_contract.py runs the same list)."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from nvlab.host import kmod
from nvlab.nodes import kernels

ROOT = Path(__file__).parents[2]
CONTRACT = ROOT / "tests/vm/guest/contract.py"


def test_linux_answers_as_the_fake_kernel_does(guest, kernel, tmp_path_factory):
    module = kmod.ensure(ROOT / "kmod", kernels.find(kernel).release, tmp_path_factory.getbasetemp() / "kmod")
    done = guest.run(sys.executable, CONTRACT, module, timeout=1800, check=False, env={"PYTHONPATH": str(ROOT)})
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert answers, done.stderr
    wrong = [answer for answer in answers if not answer["good"]]
    assert not wrong, "\n".join(f"{a['case']}: {a['answer']}, not {a['expected']}" for a in wrong)
    assert done.returncode == 0, done.stderr
