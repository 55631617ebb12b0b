"""The command line of the benchmarks."""

import argparse
import asyncio
import json
import os
import sys

from benchmarks.measures import chain, fanout, latency, throughput

MEASURES = {"throughput": (throughput, 10_000), "latency": (latency, 300), "chain": (chain, 40), "fanout": (fanout, 40)}


def main() -> None:
    """Runs one benchmark and prints its line of JSON; numbers are rounded to what they mean."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("measure", choices=MEASURES)
    parser.add_argument("--size", type=int, help="tasks, runs, length or width")
    arguments = parser.parse_args()
    measure, size = MEASURES[arguments.measure]
    figures = asyncio.run(measure(arguments.size or size))
    line = {"benchmark": arguments.measure, **figures, "cores": os.cpu_count()}
    sys.stdout.write(json.dumps(_rounded(line)) + "\n")


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return value


if __name__ == "__main__":
    main()
