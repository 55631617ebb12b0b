"""What a measure is, and how several runs of it become one."""

import argparse
import statistics
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import uvloop

Figures = dict[str, Any]
"""Numbers, texts and further figures by name. A name ends in its unit; times without one are seconds."""


def no_options(_: argparse.ArgumentParser) -> None:
    """For a measure that has nothing to choose."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure of the command. A module makes its own, and the list in `__main__` names it."""

    name: str
    about: str
    """One line of help."""
    measured: Callable[[argparse.Namespace], Awaitable[Figures]]
    """Runs it once; ``arguments`` has what ``options`` added."""
    options: Callable[[argparse.ArgumentParser], None] = no_options
    table: Callable[[Figures], str] | None = None
    """How the figures look to people; absent: the line of JSON says it all."""
    repeats: int = 1
    """How often it is measured unless ``--repeat`` says otherwise."""


def add_size(parser: argparse.ArgumentParser, size: int, meaning: str) -> None:
    """The option that most measures have."""
    parser.add_argument("--size", type=int, default=size, help=f"{meaning} (%(default)s)")


async def repeated(measure: Measure, arguments: argparse.Namespace) -> Figures:
    """Measures ``arguments.repeat`` times, each from nothing, and returns the median of every number.

    Where that is more than once, ``repeats`` has the number and ``each`` what every run found.
    """
    found = [await measure.measured(arguments) for _ in range(arguments.repeat)]
    if len(found) == 1:
        return found[0]
    return {**median_of(found), "repeats": len(found), "each": found}


def median_of(found: Sequence[Mapping[str, Any]]) -> Figures:
    """One mapping of the same shape: the median of numbers, of anything else what the first run found.

    A name that only some have counts where it is.
    """
    names = dict.fromkeys(name for figures in found for name in figures)
    return {name: _median([figures[name] for figures in found if name in figures]) for name in names}


def _median(values: list[Any]) -> Any:
    if all(value == values[0] for value in values):
        return values[0]
    if all(isinstance(value, Mapping) for value in values):
        return median_of(values)
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return statistics.median(values)
    return values[0]


def run(measure: Measure, arguments: argparse.Namespace) -> Figures:
    """Measures as often as asked, in an event loop of the kind that Orrery's processes use."""
    return uvloop.run(repeated(measure, arguments))
