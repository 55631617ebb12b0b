"""How long one task, then many at once, then one that needs them all take."""

import argparse

from benchmarks.graphs import whole_runs
from benchmarks.measure import Figures, Measure, add_size
from benchmarks.stack import Stack, running_stack
from benchmarks.workflows import noop


async def fanout(stack: Stack, width: int) -> Figures:
    """One task, ``width`` at once, one."""
    middle = {f"m{i}": noop(needs=["first"]) for i in range(width)}
    tasks = {"first": noop(), **middle, "last": noop(needs=list(middle))}
    return {"width": width, **await whole_runs(stack, tasks)}


def _options(parser: argparse.ArgumentParser) -> None:
    add_size(parser, 40, "tasks at once")


async def _measured(arguments: argparse.Namespace) -> Figures:
    async with running_stack() as stack:
        return await fanout(stack, arguments.size)


MEASURE = Measure("fanout", "seconds of a run that spreads and joins", _measured, _options)
