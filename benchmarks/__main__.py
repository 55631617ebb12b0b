"""The command line of the benchmarks."""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from benchmarks import schedules
from benchmarks.embedded import embedded
from benchmarks.measures import chain, fanout, latency, throughput
from benchmarks.shell import shell

MEASURES = {
    "throughput": (throughput, 10_000),
    "latency": (latency, 300),
    "chain": (chain, 40),
    "fanout": (fanout, 40),
    "embedded": (embedded, 10_000),
    "shell": (shell, 2_000),
}


def main() -> None:
    """Runs one benchmark and prints its line of JSON; numbers are rounded to what they mean."""
    arguments = _parser().parse_args()
    figures = asyncio.run(_measured(arguments))
    line = {"benchmark": arguments.measure, **figures, "cores": os.cpu_count()}
    if arguments.measure == "schedules":
        sys.stdout.write(_table(_rounded(figures)) + "\n")
    sys.stdout.write(json.dumps(_rounded(line)) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    measures = parser.add_subparsers(dest="measure", required=True)
    for name, (_, size) in MEASURES.items():
        measure = measures.add_parser(name)
        measure.add_argument("--size", type=int, default=size, help="tasks, runs, length or width (%(default)s)")
    clock = measures.add_parser("schedules", help="without an option: --sizes and --herd with their usual figures")
    clock.add_argument("--sizes", type=_sizes, help="how many schedules exist, such as 1000,100000,1000000")
    clock.add_argument("--herd", type=int, help="how many schedules of one project are due in the same second")
    clock.add_argument("--rate", type=int, help="fires a second, for --seconds")
    clock.add_argument("--seconds", type=int, default=60, help="how long --rate lasts (%(default)s)")
    return parser


def _sizes(text: str) -> list[int]:
    return [int(size) for size in text.split(",")]


async def _measured(arguments: argparse.Namespace) -> Mapping[str, Any]:
    if arguments.measure != "schedules":
        figures: Mapping[str, Any] = await MEASURES[arguments.measure][0](arguments.size)
        return figures
    usual = arguments.sizes is arguments.herd is arguments.rate is None
    found: dict[str, Any] = {}
    if arguments.sizes or usual:
        found["by_size"] = await schedules.by_size(arguments.sizes or schedules.SIZES)
    if arguments.herd or usual:
        found["herd"] = await schedules.herd(arguments.herd or schedules.HERD)
    if arguments.rate:
        found["rate"] = await schedules.at_rate(arguments.rate, arguments.seconds)
    return found


def _table(figures: Mapping[str, Any], name: str = "") -> str:
    """One figure a line; groups of figures are indented below their name."""
    lines = [name] if name else []
    indent = "  " if name else ""
    for key, value in figures.items():
        if isinstance(value, dict) and "p50" not in value:
            lines += [indent + line for line in _table(value, key).splitlines()]
        elif isinstance(value, dict):
            shown = "  ".join(f"{inner} {item:>9,}" for inner, item in value.items())
            lines.append(f"{indent}{key:<32}{shown}")
        else:
            lines.append(f"{indent}{key:<32}{value:>13,}")
    return "\n".join(lines)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return value


if __name__ == "__main__":
    main()
