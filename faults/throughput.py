"""I22: how many runs end in a second, before something is broken and after it is whole again.

::

    async with before_and_after(site) as throughput:
        ...                                          # break it
        throughput.healed_at = site.disturb()        # heal it
    throughput.broken, throughput.figures

It needs a steady load, and waits: only for faults that are about it.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from faults.site import LOOK_SECONDS, Site

BEFORE_SECONDS = 15.0
WINDOW_SECONDS = 10.0
BACK_SECONDS = 30.0
"""Within which the throughput is as before."""
SHARE = 0.95


@dataclass(slots=True)
class Throughput:
    """``before`` and ``after`` are runs a second; ``healed_at`` (epoch seconds) is set by the fault."""

    before: float = 0.0
    after: float = 0.0
    back_seconds: float | None = None
    healed_at: float = 0.0
    broken: list[str] = field(default_factory=list)

    @property
    def figures(self) -> Mapping[str, float]:
        told = {"runs_a_second_before": round(self.before, 2), "runs_a_second_after": round(self.after, 2)}
        return told | ({} if self.back_seconds is None else {"throughput_back_seconds": round(self.back_seconds, 1)})


@asynccontextmanager
async def before_and_after(site: Site) -> AsyncIterator[Throughput]:
    """Measures before the block for a while, and after it until it is as before, for at most half a minute from the
    healing."""
    found = Throughput()
    started = time.time()
    await asyncio.sleep(BEFORE_SECONDS)
    found.before = await ended_a_second(site, started, BEFORE_SECONDS)
    yield found
    deadline = found.healed_at + BACK_SECONDS
    while True:
        since = max(time.time() - WINDOW_SECONDS, found.healed_at)
        if time.time() - since >= WINDOW_SECONDS - LOOK_SECONDS:
            found.after = await ended_a_second(site, since, WINDOW_SECONDS)
            if found.after >= SHARE * found.before:
                found.back_seconds = since - found.healed_at
                return
        if since > deadline:
            found.broken.append(
                f"I22: {found.after:.1f} runs a second ended {BACK_SECONDS:g} s after the healing, and"
                f" {found.before:.1f} before the fault"
            )
            return
        await asyncio.sleep(LOOK_SECONDS)


async def ended_a_second(site: Site, since: float, seconds: float) -> float:
    """Runs that ended from ``since`` (epoch seconds) on, a second."""
    sql = "select count(*) as n from all_runs where finished_at >= to_timestamp($1) and finished_at < to_timestamp($2)"
    return float((await site.rows_when_back(sql, since, since + seconds))[0]["n"]) / seconds
