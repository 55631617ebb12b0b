"""Tier 1: every point and every kind, in the order that a seed gives, over PostgreSQL."""

import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from faults.inprocess.trial import be_quiet, tried
from faults.seam_table import BY_NAME, SEAMS
from faults.seams import Injection, Kind
from tests.support.private_servers import PrivatePostgres
from tests.support.stores import empty_postgres, migrated_postgres

POINTS = tuple(Injection(seam.name, kind) for seam in SEAMS for kind in Kind)


@dataclass(frozen=True, slots=True)
class Result:
    """Of one point; ``wrong`` is empty where it passed."""

    injection: Injection
    wrong: Sequence[str]


def try_all_points(seed: int) -> list[Result]:
    """On a server that is started for it; progress goes to standard error."""
    order = list(POINTS)
    random.Random(f"points {seed}").shuffle(order)
    be_quiet()
    results = []
    with PrivatePostgres() as server, migrated_postgres(server.url) as url:
        for number, injection in enumerate(order, 1):
            with tempfile.TemporaryDirectory() as folder:
                verdict = asyncio.run(tried(BY_NAME[injection.seam].story, url, Path(folder), [injection]))
            empty_postgres(url)
            missed = [] if injection in verdict.done else ["the point was not reached"]
            results.append(Result(injection, [*missed, *verdict.wrong]))
            _say(f"{number}/{len(order)} {injection.kind} at {injection.seam}")
    return results


def table(results: Sequence[Result]) -> str:
    """A line for each seam with what became of each kind, then everything that is wrong."""
    wrong = {(result.injection.seam, result.injection.kind): result.wrong for result in results}
    lines = [" ".join([f"{'seam':<42}", *(f"{kind:<20}" for kind in Kind)]).rstrip()]
    for seam in SEAMS:
        verdicts = ["BROKEN" if wrong.get((seam.name, kind)) else "passed" for kind in Kind]
        lines.append(" ".join([f"{seam.name:<42}", *(f"{verdict:<20}" for verdict in verdicts)]).rstrip())
    lines += [f"{one.injection.kind} at {one.injection.seam}: {text}" for one in results for text in one.wrong]
    return "\n".join(lines)


def json_line(results: Sequence[Result], seed: int) -> str:
    """For programs."""
    broken = [f"{one.injection.kind} at {one.injection.seam}" for one in results if one.wrong]
    figures = {"tier": 1, "seed": seed, "seams": len(SEAMS), "points": len(results), "broken": broken}
    return json.dumps({**figures, "passed": not broken})


def _say(line: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {line}\n")
