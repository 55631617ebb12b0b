"""How long a chain of no-op tasks takes."""

import argparse

from benchmarks.graphs import whole_runs
from benchmarks.measure import Figures, Measure, add_size
from benchmarks.stack import Stack, running_stack
from benchmarks.workflows import noop


async def chain(stack: Stack, length: int) -> Figures:
    """Each task needs the one before it."""
    tasks = {f"t{i}": noop(needs=[f"t{i - 1}"] if i else []) for i in range(length)}
    return {"tasks": length, **await whole_runs(stack, tasks)}


def _options(parser: argparse.ArgumentParser) -> None:
    add_size(parser, 40, "tasks, one after the other")


async def _measured(arguments: argparse.Namespace) -> Figures:
    async with running_stack() as stack:
        return await chain(stack, arguments.size)


MEASURE = Measure("chain", "seconds of a run whose tasks follow one another", _measured, _options)
