# SPDX-License-Identifier: GPL-2.0-or-later
"""For all tests: they and what they start heed Ctrl-C and hanging up, also when started where these are ignored.

Property tests draw the same examples each time, so that a run says something of the commit alone. `make soak` draws
new ones, and more of them; so does --hypothesis-profile="new examples", the same number.
"""

from __future__ import annotations

import os
import signal

from hypothesis import HealthCheck, settings

signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# how long an example takes says something of the host: it may stand still for seconds
patient = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("repeatable", derandomize=True, **patient)
settings.register_profile("new examples", **patient)
settings.load_profile("new examples" if os.environ.get("NVLAB_SOAK") else "repeatable")
