"""The command line of the fault suite."""

import argparse
import asyncio
import random
import sys
from typing import Any

from faults.campaign import RATE, campaign
from faults.catalogue import chosen
from faults.inprocess.mutant_trials import compare_all
from faults.inprocess.mutant_trials import table as mutants_table
from faults.inprocess.points import json_line as points_json_line
from faults.inprocess.points import table as points_table
from faults.inprocess.points import try_all_points
from faults.kills import kill_campaign
from faults.report import json_line, listing, table
from faults.site import Shape
from tests.support.stack import SHORT_LEASES


def main() -> int:
    """Runs what was asked for; 0 where nothing was broken, 1 where something was."""
    arguments = _parser().parse_args()
    if arguments.mutants:
        return _compare_mutants()
    try:
        faults = chosen(tier=arguments.tier, only=arguments.only)
    except KeyError as error:
        sys.stderr.write(f"there is no fault {error}; --list shows what there is\n")
        return 2
    if arguments.list:
        sys.stdout.write(listing(faults) + "\n")
        return 0
    seed = arguments.seed if arguments.seed is not None else random.randrange(10**6)
    sys.stderr.write(f"seed {seed}: --seed {seed} repeats the same faults in the same order\n")
    if arguments.tier == 1 and not arguments.only:
        return _try_points(seed)
    shape = Shape(settings=SHORT_LEASES if arguments.leases == "short" else {})
    how: dict[str, Any] = {"seed": seed, "rate": arguments.rate, "shared": shape}
    if arguments.kills:
        outcome = asyncio.run(kill_campaign(arguments.kills, **how))
    else:
        outcome = asyncio.run(campaign(faults, repeat=arguments.repeat, **how))
    sys.stdout.write(table(outcome) + "\n")
    sys.stdout.write(json_line(outcome, tier=arguments.tier, repeat=arguments.repeat, leases=arguments.leases) + "\n")
    return 0 if outcome.passed else 1


def _compare_mutants() -> int:
    comparisons = compare_all()
    sys.stdout.write(mutants_table(comparisons) + "\n")
    return 0 if all(comparison.passed for comparison in comparisons) else 1


def _try_points(seed: int) -> int:
    results = try_all_points(seed)
    sys.stdout.write(points_table(results) + "\n")
    sys.stdout.write(points_json_line(results, seed) + "\n")
    return 0 if not any(result.wrong for result in results) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m faults", description="Breaks a whole installation on purpose.")
    parser.add_argument(
        "--tier", type=int, help="1: crash points; else the faults of this tier and those below; default: all faults"
    )
    parser.add_argument("--only", type=_names, default=(), help="faults by their ids, such as F01,F13")
    parser.add_argument("--seed", type=int, help="decides the order and the moments; default: by chance, printed")
    parser.add_argument("--kills", type=int, help="instead of faults: so many kills of random processes")
    parser.add_argument("--repeat", type=int, default=1, help="how often each fault is injected (%(default)s)")
    parser.add_argument("--rate", type=float, default=RATE, help="runs a second of the client (%(default)s)")
    parser.add_argument("--leases", choices=("usual", "short"), default="usual", help="short: for many repeats")
    parser.add_argument("--mutants", action="store_true", help="compare the product with builds without a protection")
    parser.add_argument("--list", action="store_true", help="show the faults and do nothing")
    return parser


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


if __name__ == "__main__":
    sys.exit(main())
