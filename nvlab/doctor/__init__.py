# SPDX-License-Identifier: GPL-2.0-or-later
"""``nvlab doctor``: whether a machine is fit for a lab and for believing its figures.

:mod:`nvlab.host.survey` reads a machine, :mod:`.facts` makes sense of it, :mod:`.wants` says what a scenario asks for, and the
checks in :mod:`.table`, each a pure function of these two, say what is wrong. :mod:`.examine` knows where to look.
"""
