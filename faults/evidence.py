"""What the checker judges by: everything the witnesses know at one moment, as plain values.

`gather` reads it from a site; a test of a check plants its own.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import psutil

from faults.effects import Effect
from faults.journal import Exchange, read_journal
from faults.sampler import Sample, Sampler
from faults.site import CANARY, Site
from faults.workload import Workload

Row = Mapping[str, Any]

_QUERIES: Mapping[str, str] = {
    "runs": "select id::text, workflow_id::text, version_id::text, state, trigger_id::text, due_at, slot_key,"
    " tasks_left, tasks_failed, tasks_cancelled, created_at, started_at, finished_at, error from all_runs",
    "task_runs": "select id::text, run_id::text, task, item_index, group_id::text, state, needs_left, claim_no,"
    " attempt, worker_losses, worker_id::text, output, error, wake_at, child_run_id::text, created_at, ready_at,"
    " started_at, finished_at from all_task_runs",
    "attempts": "select task_run_id::text, claim_no, attempt, worker_id::text, outcome, error, started_at, finished_at"
    " from attempts",
    "ledger": "select trigger_id::text, due_at, outcome, rule, run_id::text, decided_at, epoch,"
    " pg_xact_commit_timestamp(xmin) as committed_at from ledger",
    "triggers": "select t.id::text, t.workflow_id::text, w.name as workflow, t.name, t.kind, t.expression, t.timezone,"
    " t.policy, t.anchor_at, t.active, t.paused, t.due_at, t.error from triggers t"
    " join workflows w on w.id = t.workflow_id",
    "versions": "select v.id::text, w.name as workflow, v.content from versions v"
    " join workflows w on w.id = v.workflow_id",
    "slots": "select workflow_id::text, slot_key, live from slots",
    "workers": "select id::text, name, state, started_at, lease_until from workers",
    "changes": "select id, of, key, fence_before, fence, before, after, at, pg_xact_commit_timestamp(xact) as"
    " committed_at from witness.changes order by id",
    "logs": "select task_run_id::text, claim_no, seq, stream, at, data, truncated from log_chunks"
    " order by task_run_id, claim_no, seq",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The rows of the tables by their names (ids are text, instants are aware), and what the other witnesses saw.

    ``now`` is the database's clock. ``queues`` are messages (ready and unacknowledged) by queue of the broker, ``None``
    where it was not asked. ``leftovers`` are the run ids of living processes, ``zombies`` the ids of dead ones that
    nobody collected. ``node_logs`` is the text of every node's log by its name. ``drained`` says that the load has
    stopped and the system had its time to come to rest.
    """

    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    runs: Sequence[Row] = ()
    task_runs: Sequence[Row] = ()
    attempts: Sequence[Row] = ()
    ledger: Sequence[Row] = ()
    triggers: Sequence[Row] = ()
    versions: Sequence[Row] = ()
    slots: Sequence[Row] = ()
    workers: Sequence[Row] = ()
    changes: Sequence[Row] = ()
    logs: Sequence[Row] = ()
    effects: Sequence[Effect] = ()
    effects_before: int = 2**31
    """So many of them, the first ones, were seen before the database was read: those it must know of."""
    journal: Sequence[Exchange] = ()
    samples: Sequence[Sample] = ()
    suspensions: Sequence[tuple[float, float]] = ()
    """From when to when (epoch seconds) the whole machine stood still, its client too."""
    queues: Mapping[str, int] | None = None
    leftovers: Sequence[str] = ()
    zombies: Sequence[int] = ()
    node_logs: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, int] = field(default_factory=dict)
    planted_dead: int = 0
    """Messages that a fault put where they end as dead letters."""
    canary: str = CANARY
    drained: bool = False
    drain_seconds: float = 0.0
    schedules_stopped_at: datetime | None = None
    """From then on nothing had to fire, by the database's clock."""


async def gather(
    site: Site,
    workload: Workload,
    sampler: Sampler | None = None,
    *,
    drained: bool = False,
    schedules_stopped_at: datetime | None = None,
    planted_dead: int = 0,
    drain_seconds: float = 0.0,
) -> Evidence:
    """Reads the journal first, then the database in one snapshot, then the effects: what was promised must be there,
    and what was recorded must have been seen. In a thread, as after some thousand runs it takes seconds, in which the
    client must go on."""
    samples = list(sampler.samples) if sampler else ()

    def read() -> Evidence:
        promised = read_journal(site.journal.file)
        effects_before = len(site.effects.rows())
        tables, now = asyncio.run(_tables(site))
        return Evidence(
            now=now,
            effects=site.effects.rows(),
            effects_before=effects_before,
            journal=promised,
            samples=samples,
            suspensions=tuple(site.suspensions),
            queues=site.queues() if drained else None,
            leftovers=_leftovers() if drained else (),
            zombies=_zombies(site),
            node_logs={node.name: node.log.read_text(errors="replace") for node in site.nodes},
            limits=workload.limits,
            planted_dead=planted_dead,
            drained=drained,
            drain_seconds=drain_seconds,
            schedules_stopped_at=schedules_stopped_at,
            **tables,
        )

    return await asyncio.to_thread(read)


async def _tables(site: Site) -> tuple[dict[str, Any], datetime]:
    connection = await site.connect()
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            now = await connection.fetchval("select clock_timestamp()")
            tables = {name: [dict(row) for row in await connection.fetch(sql)] for name, sql in _QUERIES.items()}
    finally:
        await connection.close()
    return tables, now


def _leftovers() -> list[str]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            run_id = process.environ().get("ORRERY_RUN_ID")
            if run_id:
                found.append(run_id)
    return found


def _zombies(site: Site) -> list[int]:
    found = []
    for node in site.nodes:
        with contextlib.suppress(psutil.Error):
            children = node.process.children(recursive=True)
            found += [child.pid for child in children if child.status() == psutil.STATUS_ZOMBIE]
    return found
