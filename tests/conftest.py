# SPDX-License-Identifier: GPL-2.0-or-later
"""For all tests: they and what they start heed Ctrl-C and hanging up, also when started where these are ignored."""

from __future__ import annotations

import signal

signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
