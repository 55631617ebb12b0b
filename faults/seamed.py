"""Starts an `orrery` command with seams or without a protection::

    python -m faults.seamed --crash-at claim/after_commit:2 -- worker
    python -m faults.seamed --error-at due/before_commit -- dispatcher
    python -m faults.seamed --without fence -- dispatcher

The process then is the product's own in every other respect: its settings, its signals, its exit code.
"""

import argparse
import contextlib
import os
import sys
from typing import Any

from faults.mutants import Protection, without
from faults.seam_table import SEAMS
from faults.seams import Injection, Kind, Switchboard
from orrery.cli.main import run


def main() -> int:
    """Runs the command after ``--``; its exit code, unless the process dies on the way."""
    arguments = _parser().parse_args()
    asked = (
        (Kind.CRASH, arguments.crash_at),
        (Kind.ERROR, arguments.error_at),
        (Kind.EXECUTE_AND_TIMEOUT, arguments.lose_at),
    )
    injections = tuple(Injection.parse(text, kind) for kind, texts in asked for text in texts)
    with contextlib.ExitStack() as stack:
        stack.enter_context(without(*arguments.without))
        stack.enter_context(Switchboard(SEAMS, injections).installed())
        return run(arguments.command, os.environ, sys.stdin, sys.stdout, sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m faults.seamed", description="An orrery command with seams.")
    point: dict[str, Any] = {"action": "append", "default": [], "metavar": "SEAM[:NUMBER]"}
    parser.add_argument("--crash-at", help="the process kills itself there, the first or the given time", **point)
    parser.add_argument("--error-at", help="something unexpected is raised there", **point)
    parser.add_argument("--lose-at", help="it is carried out there, and its answer is lost", **point)
    parser.add_argument("--without", action="append", default=[], type=Protection, choices=tuple(Protection))
    parser.add_argument("command", nargs="+", help="what would follow 'orrery'")
    return parser


if __name__ == "__main__":
    sys.exit(main())
