# SPDX-License-Identifier: GPL-2.0-or-later
# Built by _build.py from kmod/core/nvc.h and batch.h, which say what there is.
from typing import Any

ffi: Any
lib: Any
