# SPDX-License-Identifier: GPL-2.0-or-later
"""What the verbs of the command line have in common."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

Command = Callable[[argparse.Namespace], int]


def add_verb(verbs: Any, name: str, command: Command, text: str, example: str) -> argparse.ArgumentParser:
    """A verb with what all of them have; ``command`` returns the exit code."""
    sub: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sub.set_defaults(command_of=command)
    sub.add_argument("--json", action="store_true", help="result as JSON on stdout")
    sub.add_argument("-q", "--quiet", action="store_true", help="no progress on stderr")
    sub.add_argument("--debug", action="store_true", help="show a traceback with an error")
    return sub


def add_scenario(sub: argparse.ArgumentParser) -> None:
    """Its scenario file."""
    sub.add_argument("scenario", type=Path, help="a scenario file (TOML)")


def add_runs(sub: argparse.ArgumentParser) -> None:
    """Where its runs are."""
    default = Path(os.environ.get("NVLAB_RUNS", "runs"))
    sub.add_argument("--runs", type=Path, default=default, help="where run directories are (default: $NVLAB_RUNS or ./runs)")


def screen_of(args: argparse.Namespace) -> Any:
    """Progress on stderr, unless the user wants none."""
    from nvlab.screen import Screen

    return Screen(quiet=args.quiet)


def result(args: argparse.Namespace, data: Any, text: str) -> None:
    """Print what came out, as the user wants it."""
    print(json.dumps(data, indent=1) if args.json else text)
