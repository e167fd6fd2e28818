# SPDX-License-Identifier: GPL-2.0-or-later
"""For all tests: they and what they start heed Ctrl-C and hanging up, also when started where these are ignored.

Property tests draw the same examples each time, so that a run says something of the commit alone. `make soak` draws
new ones, and more of them; so does --hypothesis-profile=default, the same number.
"""

from __future__ import annotations

import os
import signal

from hypothesis import settings

signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

settings.register_profile("repeatable", derandomize=True)
if not os.environ.get("NVLAB_SOAK"):
    settings.load_profile("repeatable")
