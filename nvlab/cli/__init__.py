# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line: the argparse tree, and the only place that prints results or exits."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence

from nvlab import __version__
from nvlab.cli import calibrate, claim, lab, machine, record
from nvlab.errors import GuestLost, NvlabError


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="nvlab",
        description="A whole NVMe lab from one file: virtual devices, RAID, cache, NVMe/TCP, workload, report.",
        epilog="Begin with: nvlab up scenarios/hybrid-nvme.toml",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"nvlab {__version__}")
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    lab.add_verbs(verbs)
    record.add_verbs(verbs)
    claim.add_verbs(verbs)
    calibrate.add_verbs(verbs)
    machine.add_verbs(verbs)
    return top


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point: run the verb, turn errors into words and an exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    own, program = (words[: words.index("--")], words[words.index("--") + 1 :]) if "--" in words else (words, [])
    args = parser().parse_args(own, argparse.Namespace(argv=program))
    try:
        code = args.command_of(args)
    except NvlabError as error:
        code = _explain(error, debug=args.debug)
    except BrokenPipeError:  # the reader of our output went away
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = 130
    except Exception as error:  # a mistake of nvlab's own: the user gets words, who wants the traceback asks for it
        said = NvlabError(f"{type(error).__name__}: {error}", hint="this is a bug in nvlab; --debug shows where")
        said.__cause__ = error
        code = _explain(said, debug=args.debug)
    sys.exit(code)


def _explain(error: NvlabError, *, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    print(f"error: {error.message}", file=sys.stderr)
    for line in error.kmsg:
        print(f"kernel: {line}", file=sys.stderr)
    if isinstance(error, GuestLost):
        for line in error.console:
            print(f"console: {line}", file=sys.stderr)
    if error.hint:
        print(f"hint: {error.hint}", file=sys.stderr)
    return error.exit_code
