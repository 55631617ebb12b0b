"""The command line of the benchmarks."""

import argparse
import contextlib
import sys

from benchmarks import __doc__ as about
from benchmarks.machine import machine
from benchmarks.measure import Measure, run
from benchmarks.measures import (
    chain,
    embedded,
    fanout,
    floor,
    history,
    latency,
    memory,
    peers,
    requests,
    schedules,
    shell,
    throughput,
)
from benchmarks.report import last_line
from benchmarks.servers import own_servers

MEASURES: tuple[Measure, ...] = (
    throughput.MEASURE,
    latency.MEASURE,
    chain.MEASURE,
    fanout.MEASURE,
    requests.MEASURE,
    schedules.MEASURE,
    embedded.MEASURE,
    shell.MEASURE,
    history.MEASURE,
    floor.MEASURE,
    memory.MEASURE,
    peers.MEASURE,
)
"""What can be measured: a new measure is a module with a `MEASURE`, and a line here."""


def main() -> None:
    """Runs one measure and prints its table, where it has one, and its line of JSON."""
    arguments = _parser().parse_args()
    measure: Measure = arguments.measure
    own = own_servers(statements=arguments.statements) if arguments.own_servers else contextlib.nullcontext()
    with own:
        taken_on = machine()
        figures = run(measure, arguments)
    if measure.table is not None:
        sys.stdout.write(measure.table(figures) + "\n")
    sys.stdout.write(last_line(measure.name, figures, taken_on) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    measures = parser.add_subparsers(required=True, metavar="MEASURE")
    for measure in MEASURES:
        options = measures.add_parser(measure.name, help=measure.about, description=measure.about)
        measure.options(options)
        options.add_argument(
            "--repeat", type=int, default=measure.repeats, help="measure so often, print medians (%(default)s)"
        )
        options.add_argument("--own-servers", action="store_true", help="start servers that nobody else uses")
        options.add_argument("--statements", action="store_true", help="count its statements: with --own-servers")
        options.set_defaults(measure=measure)
    return parser


if __name__ == "__main__":
    main()
