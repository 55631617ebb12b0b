"""The read side: lists page by the sort key of their last row, so that no page repeats or skips a row."""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Select, and_, func, or_, select

from scheduler_application.errors import Rejected
from scheduler_application.paging import Page, PageRequest
from scheduler_application.ports.reading import (
    AlertFilter,
    AlertView,
    BackfillView,
    CalendarView,
    ExpectationView,
    FreezeView,
    HeartbeatView,
    LedgerView,
    QueueView,
    RunFilter,
    RunView,
    TaskRunView,
    TriggerView,
    VersionView,
    WorkerView,
    WorkflowView,
)
from scheduler_application.ports.time import Clock
from scheduler_domain.ids import canonical_uuid
from scheduler_domain.naming import NAME
from scheduler_infrastructure.persistence.columns import (
    instant_from_text,
    instant_to_text,
)
from scheduler_infrastructure.persistence.engine import Database
from scheduler_infrastructure.persistence.guard import StoreGuard
from scheduler_infrastructure.persistence.history_tables import all_runs, all_task_runs
from scheduler_infrastructure.persistence.run_queries import (
    Query,
    Sought,
    run_by_id,
    runs_of_tasks,
    runs_page,
    spans,
    task_run_by_id,
)
from scheduler_infrastructure.persistence.tables import (
    alerts,
    attempts,
    backfills,
    calendars,
    expectations,
    freezes,
    heartbeats,
    ledger,
    runs,
    task_runs,
    triggers,
    versions,
    workers,
    workflows,
)
from scheduler_infrastructure.persistence.views import (
    alert_view,
    attempt_view,
    backfill_view,
    calendar_view,
    expectation_view,
    freeze_view,
    heartbeat_view,
    last_attempt,
    ledger_view,
    queue_view,
    run_view,
    stored_object,
    task_run_view,
    trigger_view,
    version_view,
    worker_view,
    workflow_view,
)
from scheduler_infrastructure.persistence.workflow import by_name_or_id

View = TypeVar("View")

SHOWN_TASKS = 1_000

_CLOCK_KINDS = ("schedule", "every", "at")


class SqlReader:
    """`Reader`."""

    def __init__(self, database: Database, guard: StoreGuard, clock: Clock) -> None:
        self._database = database
        self._guard = guard
        self._clock = clock
        self._with_history = database.dialect == "postgresql"

    async def workflows(self, project: str, page: PageRequest) -> Page[WorkflowView]:
        query = _workflows(project).order_by(workflows.c.name)
        if page.cursor is not None:
            query = query.where(workflows.c.name > _name(page.cursor))
        return _page(
            await self._rows(query, page),
            page,
            workflow_view,
            lambda row: str(row["name"]),
        )

    async def workflow(self, project: str, name_or_id: str) -> WorkflowView | None:
        query = by_name_or_id(_workflows(project).add_columns(workflows.c.draft), project, name_or_id)
        rows = await self._rows(query)
        return workflow_view(rows[0], stored_object(rows[0]["draft"])) if rows else None

    async def versions(self, project: str, workflow_id: str, page: PageRequest) -> Page[VersionView]:
        query = _versions(project).where(versions.c.workflow_id == workflow_id).order_by(versions.c.number.desc())
        if page.cursor is not None:
            query = query.where(versions.c.number < _number(page.cursor))
        return _page(
            await self._rows(query, page),
            page,
            version_view,
            lambda row: str(row["number"]),
        )

    async def version(self, project: str, workflow_id: str, number: int) -> VersionView | None:
        query = _versions(project).add_columns(versions.c.content)
        rows = await self._rows(query.where(versions.c.workflow_id == workflow_id, versions.c.number == number))
        return version_view(rows[0], stored_object(rows[0]["content"])) if rows else None

    async def triggers(self, project: str, workflow_id: str) -> list[TriggerView]:
        query = _triggers(project).where(triggers.c.workflow_id == workflow_id, triggers.c.active)
        return [trigger_view(row) for row in await self._rows(query.order_by(triggers.c.name))]

    async def schedules(self, project: str, page: PageRequest) -> Page[TriggerView]:
        clock = triggers.c.kind.in_(_CLOCK_KINDS)
        query = _triggers(project).where(triggers.c.active, clock).order_by(workflows.c.name, triggers.c.name)
        if page.cursor is not None:
            workflow, _, name = page.cursor.partition("|")
            after = and_(workflows.c.name == _name(workflow), triggers.c.name > _name(name))
            query = query.where(or_(workflows.c.name > workflow, after))
        rows = await self._rows(query, page)
        return _page(rows, page, trigger_view, lambda row: f"{row['workflow']}|{row['name']}")

    async def calendars(self, project: str, page: PageRequest) -> Page[CalendarView]:
        query = _calendars(project).order_by(calendars.c.name)
        if page.cursor is not None:
            query = query.where(calendars.c.name > _name(page.cursor))
        return _page(await self._rows(query, page), page, calendar_view, lambda row: str(row["name"]))

    async def calendar(self, project: str, name: str) -> CalendarView | None:
        if NAME.fullmatch(name) is None:
            return None
        rows = await self._rows(_calendars(project).where(calendars.c.name == name))
        return calendar_view(rows[0]) if rows else None

    async def runs(self, project: str, where: RunFilter, page: PageRequest) -> Page[RunView]:
        before = None if page.cursor is None else _id(page.cursor)
        sought = await self._sought(project, where)
        if sought is None:
            return Page([], None)
        rows: list[Any] = []
        for span in spans(sought, before, self._clock.now(), with_history=self._with_history):
            missing = page.limit + 1 - len(rows)
            rows += await self._fetch(runs_page(project, sought, span, missing, with_history=self._with_history))
            if len(rows) > page.limit:
                break
        view = partial(run_view, parents=await self._parents(rows))
        return _page(rows, page, view, lambda row: str(row["id"]))

    async def _sought(self, project: str, where: RunFilter) -> Sought | None:
        """``None`` where something is asked for by a name or an id that nothing has."""
        sought = Sought(where)
        if where.workflow is not None:
            found = await self._rows(by_name_or_id(select(workflows.c.id), project, where.workflow))
            if not found:
                return None
            sought = sought._replace(workflow_id=found[0]["id"])
        if where.trigger is not None:
            trigger_ids = await self._trigger_ids(project, sought.workflow_id, where.trigger)
            if not trigger_ids:
                return None
            sought = sought._replace(trigger_ids=trigger_ids)
        if where.backfill is not None:
            backfill_id = canonical_uuid(where.backfill)
            if backfill_id is None:
                return None
            sought = sought._replace(backfill_id=backfill_id)
        return sought

    async def _parents(self, rows: Sequence[Any]) -> dict[str, str]:
        """The runs that started some of these, by the task runs that did."""
        task_run_ids = [row["parent_task_run_id"] for row in rows if row["parent_task_run_id"] is not None]
        if not task_run_ids:
            return {}
        found = await self._fetch(runs_of_tasks(task_run_ids, with_history=self._with_history))
        return {row["id"]: row["run_id"] for row in found}

    async def _trigger_ids(self, project: str, workflow_id: str | None, name: str) -> list[str]:
        if NAME.fullmatch(name) is None:
            return []
        query = select(triggers.c.id).where(triggers.c.project_id == project, triggers.c.name == name)
        if workflow_id is not None:
            query = query.where(triggers.c.workflow_id == workflow_id)
        return [row["id"] for row in await self._rows(query)]

    async def run(self, project: str, run_id: str) -> RunView | None:
        known = canonical_uuid(run_id)
        rows = await self._fetch(run_by_id(project, known)) if known is not None else ()
        if not rows:
            return None
        tasks = await self.task_runs(project, rows[0]["id"], PageRequest(limit=SHOWN_TASKS))
        return run_view(rows[0], await self._parents(rows), tasks.items)

    async def task_runs(self, project: str, run_id: str, page: PageRequest) -> Page[TaskRunView]:
        of_run = and_(all_task_runs.c.project_id == project, all_task_runs.c.run_id == run_id)
        query = select(all_task_runs).where(of_run).order_by(all_task_runs.c.id)
        if page.cursor is not None:
            query = query.where(all_task_runs.c.id > _id(page.cursor))
        return _page(
            await self._rows(query, page),
            page,
            task_run_view,
            lambda row: str(row["id"]),
        )

    async def task_run(self, project: str, task_run_id: str) -> TaskRunView | None:
        known = canonical_uuid(task_run_id)
        if known is None:
            return None
        rows = await self._fetch(task_run_by_id(project, known, with_history=self._with_history))
        if not rows:
            return None
        query = select(attempts).where(attempts.c.task_run_id == known).order_by(attempts.c.claim_no).limit(1000)
        past = [attempt_view(row) for row in await self._rows(query)]
        return task_run_view(rows[0], past + last_attempt(rows[0]))

    async def slot_holders(self, project: str, run_id: str) -> list[str]:
        waiting = runs.alias("waiting")
        same = and_(runs.c.workflow_id == waiting.c.workflow_id, runs.c.slot_key == waiting.c.slot_key)
        query = (
            select(runs.c.id)
            .join(waiting, same)
            .where(waiting.c.id == run_id, waiting.c.project_id == project)
            .where(runs.c.state.in_(["running", "cancelling"]), runs.c.finished_at.is_(None))
            .order_by(runs.c.id)
            .limit(10)
        )
        return [row["id"] for row in await self._rows(query)]

    async def ledger(
        self,
        project: str,
        page: PageRequest,
        *,
        workflow: str | None = None,
        due_from: datetime | None = None,
        due_to: datetime | None = None,
    ) -> Page[LedgerView]:
        query = _ledger(project).order_by(ledger.c.due_at.desc(), ledger.c.trigger_id)
        if workflow is not None:
            found = await self.workflow(project, workflow)
            query = query.where(ledger.c.workflow_id == (found.id if found is not None else None))
        if due_from is not None:
            query = query.where(ledger.c.due_at >= due_from)
        if due_to is not None:
            query = query.where(ledger.c.due_at <= due_to)
        if page.cursor is not None:
            moment, _, trigger_id = page.cursor.partition("|")
            due_at = _instant(moment)
            later = and_(ledger.c.due_at == due_at, ledger.c.trigger_id > _id(trigger_id))
            query = query.where(or_(ledger.c.due_at < due_at, later))
        rows = await self._rows(query, page)
        return _page(
            rows,
            page,
            ledger_view,
            lambda row: f"{instant_to_text(row['due_at'])}|{row['trigger_id']}",
        )

    async def freezes(self, project: str, page: PageRequest) -> Page[FreezeView]:
        query = _freezes(project).order_by(freezes.c.id.desc())
        if page.cursor is not None:
            query = query.where(freezes.c.id < _id(page.cursor))
        return _page(await self._rows(query, page), page, freeze_view, lambda row: str(row["id"]))

    async def freezes_ahead(self, project: str, now: datetime) -> list[FreezeView]:
        query = _freezes(project).where(freezes.c.ends_at > now, freezes.c.lifted_at.is_(None))
        return [freeze_view(row) for row in await self._rows(query.order_by(freezes.c.ends_at.desc()).limit(1_000))]

    async def freeze(self, project: str, freeze_id: str) -> FreezeView | None:
        rows = await self._rows(_freezes(project).where(freezes.c.id == freeze_id))
        return freeze_view(rows[0]) if rows else None

    async def backfills(self, project: str, page: PageRequest, *, workflow: str | None = None) -> Page[BackfillView]:
        query = _backfills(project).order_by(backfills.c.id.desc())
        if workflow is not None:
            found = await self.workflow(project, workflow)
            query = query.where(backfills.c.workflow_id == (found.id if found is not None else None))
        if page.cursor is not None:
            query = query.where(backfills.c.id < _id(page.cursor))
        return _page(await self._rows(query, page), page, backfill_view, lambda row: str(row["id"]))

    async def backfill(self, project: str, backfill_id: str) -> BackfillView | None:
        known = canonical_uuid(backfill_id)
        rows = await self._rows(_backfills(project).where(backfills.c.id == known)) if known is not None else ()
        if not rows:
            return None
        counted = select(all_runs.c.state, func.count().label("number")).where(all_runs.c.backfill_id == known)
        return backfill_view(
            rows[0], {row["state"]: row["number"] for row in await self._rows(counted.group_by(all_runs.c.state))}
        )

    async def expectations(self, project: str, workflow_id: str) -> list[ExpectationView]:
        query = (
            select(expectations, workflows.c.name.label("workflow"))
            .join(workflows, workflows.c.id == expectations.c.workflow_id)
            .where(expectations.c.project_id == project, expectations.c.workflow_id == workflow_id)
            .where(expectations.c.active)
            .order_by(expectations.c.name)
        )
        return [expectation_view(row) for row in await self._rows(query)]

    async def heartbeats(self, project: str, page: PageRequest) -> Page[HeartbeatView]:
        query = select(heartbeats).where(heartbeats.c.project_id == project).order_by(heartbeats.c.name)
        if page.cursor is not None:
            query = query.where(heartbeats.c.name > _name(page.cursor))
        return _page(await self._rows(query, page), page, heartbeat_view, lambda row: str(row["name"]))

    async def heartbeat(self, project: str, name: str) -> HeartbeatView | None:
        if not NAME.fullmatch(name):
            return None
        rows = await self._rows(select(heartbeats).where(heartbeats.c.project_id == project, heartbeats.c.name == name))
        return heartbeat_view(rows[0]) if rows else None

    async def alerts(self, project: str, where: AlertFilter, page: PageRequest) -> Page[AlertView]:
        query = _alerts(project).order_by(alerts.c.id.desc())
        if where.workflow is not None:
            found = await self.workflow(project, where.workflow)
            query = query.where(alerts.c.workflow_id == (found.id if found is not None else None))
        if where.kind is not None:
            query = query.where(alerts.c.kind == where.kind)
        if where.open is not None:
            query = query.where(alerts.c.resolved_at.is_(None) if where.open else alerts.c.resolved_at.is_not(None))
        if page.cursor is not None:
            query = query.where(alerts.c.id < _id(page.cursor))
        return _page(await self._rows(query, page), page, alert_view, lambda row: str(row["id"]))

    async def alert(self, project: str, alert_id: str) -> AlertView | None:
        known = canonical_uuid(alert_id)
        rows = await self._rows(_alerts(project).where(alerts.c.id == known)) if known is not None else ()
        return alert_view(rows[0]) if rows else None

    async def workers(self) -> list[WorkerView]:
        running = (
            select(func.count())
            .where(task_runs.c.worker_id == workers.c.id, task_runs.c.state == "running")
            .scalar_subquery()
        )
        query = select(workers, running.label("running")).order_by(workers.c.started_at.desc()).limit(500)
        return [worker_view(row) for row in await self._rows(query)]

    async def queues(self, project: str) -> list[QueueView]:
        waiting = (
            select(
                task_runs.c.queue,
                func.count().label("ready"),
                func.min(task_runs.c.ready_at).label("oldest_at"),
            )
            .where(
                task_runs.c.state.in_(["ready", "queued"]),
                task_runs.c.project_id == project,
            )
            .group_by(task_runs.c.queue)
        )
        running = (
            select(task_runs.c.queue, func.count().label("running"))
            .where(task_runs.c.state == "running", task_runs.c.project_id == project)
            .group_by(task_runs.c.queue)
        )
        ready = {row["queue"]: row for row in await self._rows(waiting)}
        busy = {row["queue"]: row["running"] for row in await self._rows(running)}
        live = [worker for worker in await self.workers() if worker.state == "active"]
        names = sorted({*ready, *busy, *(queue for worker in live for queue in worker.queues)})
        return [queue_view(name, ready.get(name), busy.get(name, 0), live) for name in names]

    async def _rows(self, query: Select[Any], page: PageRequest | None = None) -> Sequence[Any]:
        limited = query if page is None else query.limit(page.limit + 1)

        async def read() -> Sequence[Any]:
            async with self._database.reading() as connection:
                return await connection.rows(limited)

        return await self._guard.run(read)

    async def _fetch(self, query: Query) -> Sequence[Any]:
        async def read() -> Sequence[Any]:
            async with self._database.reading() as connection:
                return await connection.fetch(query.statement, *query.arguments)

        return await self._guard.run(read)


def _page(
    rows: Sequence[Any],
    page: PageRequest,
    view: Callable[[Any], View],
    cursor: Callable[[Any], str],
) -> Page[View]:
    shown = rows[: page.limit]
    more = len(rows) > page.limit
    return Page([view(row) for row in shown], cursor(shown[-1]) if more else None)


def _id(cursor: str) -> str:
    known = canonical_uuid(cursor)
    if known is None:
        raise Rejected("the cursor is not one of this list", code="invalid_cursor")
    return known


def _name(cursor: str) -> str:
    if NAME.fullmatch(cursor) is None:
        raise Rejected("the cursor is not one of this list", code="invalid_cursor")
    return cursor


def _number(cursor: str) -> int:
    if not cursor.isdecimal() or len(cursor) > 9:
        raise Rejected("the cursor is not one of this list", code="invalid_cursor")
    return int(cursor)


def _instant(cursor: str) -> datetime:
    try:
        return instant_from_text(cursor)
    except ValueError:
        raise Rejected("the cursor is not one of this list", code="invalid_cursor") from None


def _workflows(project: str) -> Select[Any]:
    return (
        select(
            workflows.c.id,
            workflows.c.name,
            workflows.c.description,
            workflows.c.labels,
            workflows.c.enabled,
            workflows.c.draft_digest,
            workflows.c.created_at,
            workflows.c.updated_at,
            versions.c.number.label("live_version"),
            versions.c.digest.label("live_digest"),
        )
        .select_from(workflows.outerjoin(versions, versions.c.id == workflows.c.live_version_id))
        .where(workflows.c.project_id == project, workflows.c.deleted_at.is_(None))
    )


def _versions(project: str) -> Select[Any]:
    return (
        select(
            versions.c.id,
            versions.c.number,
            versions.c.digest,
            versions.c.created_at,
            versions.c.created_by,
            workflows.c.name.label("workflow"),
            (workflows.c.live_version_id == versions.c.id).label("live"),
        )
        .join(workflows, workflows.c.id == versions.c.workflow_id)
        .where(workflows.c.project_id == project)
    )


def _freezes(project: str) -> Select[Any]:
    held = select(func.count()).where(triggers.c.frozen_by == freezes.c.id).scalar_subquery()
    return select(freezes, held.label("held")).where(freezes.c.project_id == project)


def _triggers(project: str) -> Select[Any]:
    return (
        select(triggers, workflows.c.name.label("workflow"))
        .join(workflows, workflows.c.id == triggers.c.workflow_id)
        .where(triggers.c.project_id == project)
    )


def _calendars(project: str) -> Select[Any]:
    """Without the texts and the days, which are long."""
    shown = [column for column in calendars.c if column.name not in ("source", "days")]
    return select(*shown).where(calendars.c.project_id == project)


def _backfills(project: str) -> Select[Any]:
    return (
        select(backfills, workflows.c.name.label("workflow"), triggers.c.name.label("trigger"))
        .join(workflows, workflows.c.id == backfills.c.workflow_id)
        .join(triggers, triggers.c.id == backfills.c.trigger_id)
        .where(backfills.c.project_id == project)
    )


def _ledger(project: str) -> Select[Any]:
    return (
        select(ledger, workflows.c.name.label("workflow"), triggers.c.name.label("trigger"))
        .select_from(
            ledger.outerjoin(workflows, workflows.c.id == ledger.c.workflow_id).outerjoin(
                triggers, triggers.c.id == ledger.c.trigger_id
            )
        )
        .where(ledger.c.project_id == project)
    )


def _alerts(project: str) -> Select[Any]:
    return (
        select(alerts, workflows.c.name.label("workflow"))
        .select_from(alerts.outerjoin(workflows, workflows.c.id == alerts.c.workflow_id))
        .where(alerts.c.project_id == project)
    )
