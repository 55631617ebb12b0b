"""Faults of plenty: very many due times at one moment."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from random import Random

from faults.fault import Recovery, fault
from faults.load import deploy_one
from faults.recovery import NotRecovered
from faults.site import LOOK_SECONDS, Site
from faults.workload import note

HERD = 2_000
PER_WORKFLOW = 100
AHEAD_SECONDS = 45.0
"""Deploying the herd takes a while; its moment must not come before."""


@fault("F50", "2,000 schedules are due at one moment", tier=3, target=5.0, sharp=("I3", "I21"))
async def a_herd_is_due(site: Site, _chance: Random) -> Recovery:
    """The recovery is the time until all are recorded; the figures say how late the other schedules were."""
    due = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=AHEAD_SECONDS)
    name = f"crowd-{due.timestamp():.0f}"
    for number in range(HERD // PER_WORKFLOW):
        triggers = [{"name": f"at-{place}", "at": due.isoformat()} for place in range(PER_WORKFLOW)]
        await deploy_one(site, {"workflow": f"{name}-{number}", "triggers": triggers, "tasks": {"one": note()}})
    if datetime.now(UTC) >= due:
        raise NotRecovered(f"the herd was not deployed within {AHEAD_SECONDS:g} s")
    site.disturb()
    seconds = await _recorded(site, due)
    started = await _started(site, due)
    late = await site.rows(
        "select coalesce(percentile_cont(0.99) within group (order by extract(epoch from decided_at - due_at)), 0)"
        "::float as p99 from ledger where due_at > $1 and due_at < $1 + interval '20 s'",
        due,
    )
    figures = {"others_p99_seconds": round(late[0]["p99"], 2), "first_task_of_all_claimed_seconds": round(started, 1)}
    return Recovery(f"{HERD} schedules were due at once", seconds, figures)


async def _recorded(site: Site, due: datetime, *, within: float = 120.0) -> float:
    """Seconds between the due time and the decision of the last of the herd."""
    sql = (
        "select count(*) as n, extract(epoch from max(l.decided_at) - $1)::float as seconds from ledger l"
        " join triggers t on t.id = l.trigger_id where l.due_at = $1 and t.kind = 'at'"
    )
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        rows = await site.rows_when_back(sql, due)
        if rows[0]["n"] >= HERD:
            return float(rows[0]["seconds"])
        await asyncio.sleep(LOOK_SECONDS)
    raise NotRecovered(f"the herd was not recorded within {within:g} s of its moment")


async def _started(site: Site, due: datetime, *, within: float = 180.0) -> float:
    """Seconds between the due time and the claim of the last first task."""
    sql = (
        "select count(*) filter (where t.claim_no = 0) as waiting,"
        " extract(epoch from max(t.started_at) - $1)::float as seconds"
        " from task_runs t join runs r on r.id = t.run_id where r.due_at = $1"
    )
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        rows = await site.rows_when_back(sql, due)
        if not rows[0]["waiting"]:
            return float(rows[0]["seconds"] or 0.0)
        await asyncio.sleep(LOOK_SECONDS)
    raise NotRecovered(f"the herd did not begin within {within:g} s")
