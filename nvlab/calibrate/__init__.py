# SPDX-License-Identifier: GPL-2.0-or-later
"""Profiles fitted to what fio measured on a drive: a sweep, the simulator as its model, and what may be claimed."""
