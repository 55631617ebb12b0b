"""Claiming: hints become attempts that this worker owns under a new fence."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from scheduler_application.errors import Conflict, NotFound
from scheduler_application.json_values import json_value
from scheduler_application.ports.observing import Metrics
from scheduler_application.ports.persistence import Store, Transaction
from scheduler_application.ports.rows import NO_ITEM, ClaimedRow, SettledTask, Slot
from scheduler_application.ports.time import Clock
from scheduler_application.run.definitions import UNREADABLE_VERSION, Version
from scheduler_application.run.open_runs import Engine
from scheduler_application.run.scope import named_tasks, run_scope, tasks_scope
from scheduler_application.run.unreadable import UNREADABLE_VALUE, unknown_task, unreadable_version
from scheduler_domain.run.outcome import TaskError
from scheduler_domain.workflow.definition import TaskDefinition

Fence = tuple[str, int]
"""(task run, ``claim_no`` before the claim): what a hint names."""

References = frozenset[tuple[str, ...]]
"""The paths that a task's templates name, such as ``("tasks", "a", "output")``."""

MAX_CLAIM = 500
"""The most task runs that one transaction claims."""


class ClaimedTask(msgspec.Struct, frozen=True):
    """An attempt that belongs to this worker until it reports its outcome or its lease ends.

    ``scope`` is what the task's templates may see, without ``secrets``: those only the worker adds. It is empty where
    they name nothing and it is no item of a ``for_each``. An attempt with a ``refusal`` cannot be executed, because
    what is stored about it cannot be read; it is to be reported as failed.
    """

    row: ClaimedRow
    version: Version
    scope: Mapping[str, Any]
    refusal: TaskError | None = None

    @property
    def task(self) -> TaskDefinition:
        return self.version.definition.tasks.get(self.row.task) or unknown_task(self.row.task)

    @property
    def fence(self) -> tuple[str, int]:
        return (self.row.id, self.row.claim_no)

    @property
    def slot(self) -> Slot | None:
        """The concurrency key that the run holds."""
        return None if self.row.slot_key is None else Slot(self.row.workflow_id, self.row.slot_key)


class ClaimTasks:
    """For workers. Claims what the hints name, as far as it still may be claimed; one transaction for all. After it,
    and not before, the hints' messages are acknowledged."""

    def __init__(self, store: Store, engine: Engine, clock: Clock, metrics: Metrics) -> None:
        self._store = store
        self._engine = engine
        self._clock = clock
        self._metrics = metrics

    async def execute(self, worker_id: str, hints: Sequence[Fence]) -> list[ClaimedTask]:
        """Raises `Unavailable`."""
        if not hints:
            return []
        started = self._clock.monotonic()
        tried: set[Fence] = set()
        claimed = await self._store.transact(lambda tx: self.within(tx, worker_id, hints, tried))
        if claimed:
            self._metrics.batch("claim", len(claimed), self._clock.monotonic() - started)
            self.count(claimed)
        return claimed

    async def within(
        self, tx: Transaction, worker_id: str, hints: Collection[Fence], tried: set[Fence]
    ) -> list[ClaimedTask]:
        """As a part of ``tx``; `count` what is claimed after its commit. ``tried`` is what earlier tries of the same
        transaction named, and this one adds to it: they may have been committed although their answer was lost."""
        wanted = sorted(set(hints))
        rows = await tx.claims.claim(worker_id, wanted, self._clock.now())
        before = await tx.claims.claimed_before(worker_id, sorted(tried)) if tried else []
        tried.update(wanted)
        known = {row.id for row in rows}
        return await self._tasks(tx, [*rows, *(row for row in before if row.id not in known)])

    async def recall(self, worker_id: str, hints: Sequence[Fence]) -> list[ClaimedTask]:
        """What of ``hints`` belongs to the worker after an `execute` that raised: it may have been committed all the
        same.

        What the worker knows already is in the answer too. Raises `Unavailable`.
        """

        async def recall(tx: Transaction) -> list[ClaimedTask]:
            return await self._tasks(tx, await tx.claims.claimed_before(worker_id, sorted(set(hints))))

        return await self._store.transact(recall)

    async def _tasks(self, tx: Transaction, rows: Sequence[ClaimedRow]) -> list[ClaimedTask]:
        versions, refusals = await self._versions(tx, rows)
        references = {
            (version, task): _references(versions[version].definition.tasks[task])
            for version, task in {(row.version_id, row.task) for row in rows}
            if task in versions[version].definition.tasks
        }
        named = [references.get((row.version_id, row.task)) for row in rows]
        results = await self._results(
            tx, [(row.run_id, names) for row, names in zip(rows, named, strict=True) if names]
        )
        return [
            self._claimed(row, versions[row.version_id], names, results, refusals.get(row.version_id))
            for row, names in zip(rows, named, strict=True)
        ]

    async def _versions(
        self, tx: Transaction, rows: Sequence[ClaimedRow]
    ) -> tuple[dict[str, Version], dict[str, TaskError]]:
        """By id, and why there is only a stand-in for some."""
        versions: dict[str, Version] = {}
        refusals: dict[str, TaskError] = {}
        await self._engine.definitions.load(tx, (row.version_id for row in rows))
        for version_id, workflow_id in {(row.version_id, row.workflow_id) for row in rows}:
            try:
                versions[version_id] = await self._engine.definitions.get(tx, version_id)
            except (Conflict, NotFound) as error:
                versions[version_id] = unreadable_version(version_id, workflow_id)
                refusals[version_id] = TaskError(UNREADABLE_VERSION, str(error))
        return versions, refusals

    def _claimed(
        self,
        row: ClaimedRow,
        version: Version,
        references: References | None,
        results: Mapping[str, Sequence[SettledTask]],
        refusal: TaskError | None,
    ) -> ClaimedTask:
        """``references`` are those of the task, ``None`` where the version has no such task."""
        if refusal is None and references is None:
            message = f"version {version.number} of the workflow has no task '{row.task}'"
            refusal = TaskError(UNREADABLE_VERSION, message)
        if refusal is None and not references and row.item_index == NO_ITEM:
            return ClaimedTask(row, version, {})
        if refusal is None:
            try:
                return ClaimedTask(row, version, self._scope(row, version, results[row.run_id]))
            except ValueError as error:
                refusal = TaskError(UNREADABLE_VALUE, f"a value that the task needs cannot be read: {error}")
        return ClaimedTask(row, version, {}, refusal)

    async def _results(
        self, tx: Transaction, references: Sequence[tuple[str, References]]
    ) -> Mapping[str, Sequence[SettledTask]]:
        """The results that the claimed tasks' templates name, by run, and no others. ``references`` are of one task of
        the run each."""
        wanted = {(run_id, task) for run_id, named in references for task in named_tasks(named)}
        found: dict[str, list[SettledTask]] = defaultdict(list)
        if wanted:
            for result in await tx.graph.results(sorted(wanted)):
                found[result.run_id].append(result)
        return found

    def _scope(self, row: ClaimedRow, version: Version, results: Sequence[SettledTask]) -> dict[str, Any]:
        scope = {
            "inputs": json_value(row.inputs),
            "vars": self._engine.variables,
            "tasks": tasks_scope(results),
            "run": run_scope(
                run_id=row.run_id,
                workflow=version.definition.name,
                started_by=row.started_by,
                scheduled_for=row.scheduled_for,
                created_at=row.created_at,
                failed=row.tasks_failed > 0,
            ),
        }
        if row.item_index != NO_ITEM:
            scope |= {"item": json_value(row.item), "index": row.item_index}
        return scope

    def count(self, claimed: Sequence[ClaimedTask]) -> None:
        """Into the metrics, by queue."""
        waited: dict[str, float] = {}
        counts: dict[str, int] = defaultdict(int)
        for task in claimed:
            row = task.row
            counts[row.queue] += 1
            waited[row.queue] = max(
                waited.get(row.queue, 0.0),
                (row.started_at - row.ready_at).total_seconds(),
            )
        for queue, count in counts.items():
            self._metrics.claimed(queue, count, waited[queue])


def _references(task: TaskDefinition) -> References:
    found = task.settings.references
    for template in task.env.values():
        found |= template.references
    return found
