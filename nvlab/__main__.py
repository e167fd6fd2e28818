# SPDX-License-Identifier: GPL-2.0-or-later
"""``python -m nvlab`` is the command line."""

from nvlab.cli import main

main()
