"""Each mutant in a story that the product passes and the mutant does not."""

import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from faults.inprocess.trial import Verdict, be_quiet, tried
from faults.mutants import Protection, without
from faults.seams import Injection, Kind
from tests.support.private_servers import PrivatePostgres
from tests.support.stores import empty_postgres, migrated_postgres


@dataclass(frozen=True, slots=True)
class Scenario:
    """A story, and what is injected into it."""

    story: str
    injections: tuple[Injection, ...] = ()

    @property
    def title(self) -> str:
        return " + ".join([self.story, *(f"{one.kind} at {one.seam}" for one in self.injections)])


SCENARIOS: Mapping[Protection, Scenario] = {
    Protection.FENCE: Scenario("stale"),
    Protection.OUTBOX: Scenario("unhinted"),
    Protection.STATE_GUARD: Scenario("pair", (Injection("result/after_commit", Kind.EXECUTE_AND_TIMEOUT),)),
    Protection.ACK_AFTER_CLAIM: Scenario("chain", (Injection("claim/before_commit", Kind.CRASH),)),
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the checker found of the product and of the mutant."""

    protection: Protection
    scenario: Scenario
    product: Verdict
    mutant: Verdict

    @property
    def passed(self) -> bool:
        """Whether the scenario was played in both, the product is clean, and the mutant is caught."""
        played = len(self.product.done) == len(self.mutant.done) == len(self.scenario.injections)
        return played and not self.product.wrong and bool(self.mutant.wrong)


async def compared_on(url: str, folder: Path, protections: Sequence[Protection]) -> list[Comparison]:
    """Compares over the migrated, empty store at ``url``, on PostgreSQL; leaves it empty."""
    found = []
    for protection in protections:
        scenario = SCENARIOS[protection]
        product = await _tried(url, folder, scenario)
        with without(protection):
            mutant = await _tried(url, folder, scenario)
        found.append(Comparison(protection, scenario, product, mutant))
    return found


async def _tried(url: str, folder: Path, scenario: Scenario) -> Verdict:
    try:
        return await tried(scenario.story, url, folder, scenario.injections)
    finally:
        empty_postgres(url)


def compare_all() -> list[Comparison]:
    """Every mutant, on a server that is started for it."""
    be_quiet()
    with (
        PrivatePostgres() as server,
        migrated_postgres(server.url) as url,
        tempfile.TemporaryDirectory() as folder,
    ):
        return asyncio.run(compared_on(url, Path(folder), tuple(Protection)))


def table(comparisons: Sequence[Comparison]) -> str:
    """For people: a line for each mutant, and what caught it."""
    lines = []
    for one in comparisons:
        product = "clean" if not one.product.wrong else f"NOT CLEAN: {one.product.wrong[0]}"
        mutant = f"caught: {one.mutant.wrong[0]}" if one.mutant.wrong else "NOT CAUGHT"
        lines += [
            f"without {one.protection}: {one.scenario.title}",
            f"  the product: {product}",
            f"  the mutant:  {mutant}",
        ]
    return "\n".join(lines)
