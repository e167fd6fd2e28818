# SPDX-License-Identifier: GPL-2.0-or-later
"""nvlab: a whole NVMe lab from one file."""

__version__ = "0.1.0"
