"""The queries of runs and task runs for people, over the live ones and history alike.

A list is asked one span of ids after the other, newest first, until its page is full: ids tell the time, so a span of
a week is the live table and two partitions, whatever else history holds. (Most of such a query is its planning, and
that goes by partitions.) A span is asked for live and moved runs in one statement: none is missed while it moves.
Within a span each final state is looked for by itself along an index that ends with the id, and names are joined to
the page only.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from scheduler_application.ports.reading import RunFilter
from scheduler_domain.run.states import FINAL_RUN_STATES, RunState
from scheduler_infrastructure.persistence.engine import Statement, both
from scheduler_infrastructure.persistence.partitions import LONGEST, first_id, shifted

NEWEST = timedelta(weeks=1)
"""The first span: most pages are full with it. What is older is one further span."""

NEWEST_OF_RARE = timedelta(weeks=8)
"""The first span of what a week would hardly fill a page with: one dear query instead of a cheap one and a dear one."""

_IDENTITY_BEFORE = timedelta(hours=1)
"""A run has its identity before its row is written, by less than that."""

_COLUMNS = ", ".join(
    (
        *("id", "workflow_id", "version_id", "trigger_id", "parent_task_run_id", "backfill_id", "rerun_of"),
        *("state", "started_by", "due_at", "inputs", "priority", "error", "created_at", "started_at", "finished_at"),
        *("tasks_total", "tasks_left", "tasks_failed"),
    )
)


class Span(NamedTuple):
    """Ids from ``first`` on, and less than ``before``; ``None`` where there is no bound."""

    first: str | None
    before: str | None


class Sought(NamedTuple):
    """A filter with the ids behind its names, ``None`` where they are not asked for."""

    where: RunFilter
    workflow_id: str | None = None
    trigger_ids: Sequence[str] | None = None
    backfill_id: str | None = None

    @property
    def only_live(self) -> bool:
        """Whether no finished run is asked for: those are in the live table, all of them."""
        return bool(self.where.states) and FINAL_RUN_STATES.isdisjoint(self.where.states)

    @property
    def newest(self) -> timedelta:
        """How long the first span is."""
        states = self.where.states
        rare = (bool(states) and RunState.SUCCEEDED not in states) or self.backfill_id is not None
        return NEWEST_OF_RARE if rare else NEWEST


class Query(NamedTuple):
    statement: Statement
    arguments: Sequence[Any]


def spans(sought: Sought, before: str | None, now: datetime, *, with_history: bool) -> Iterator[Span]:
    """What to ask `runs_page` for, one after the other, for the runs with an id less than ``before``."""
    where = sought.where
    first = None if where.created_after is None else first_id(where.created_after - _IDENTITY_BEFORE)
    if where.created_before is not None:
        bound = first_id(where.created_before + _IDENTITY_BEFORE)
        before = bound if before is None else min(before, bound)
    newest = shifted(min(before or first_id(now), first_id(now)), -sought.newest)
    if not with_history or sought.only_live or (first is not None and newest <= first):
        yield Span(first, before)
    else:
        yield Span(newest, before)
        yield Span(first, newest)


def runs_page(project: str, sought: Sought, span: Span, limit: int, *, with_history: bool) -> Query:
    """The newest ``limit`` runs of ``span`` that are sought."""
    query = _Composed()
    found = [f"project_id = {query.put(project)}", *_conditions(query, sought, span)]
    bound = query.put(limit)

    def part(table: str, states: Sequence[str]) -> str:
        conditions = " and ".join([*found, *([query.one_of("state", states)] if states else [])])
        return (
            f"select * from (select {_COLUMNS} from {table} where {conditions}"  # noqa: S608 - texts are ours
            f" order by id desc limit {bound}) as part"
        )

    parts = [part("runs", sought.where.states)]
    if with_history and not sought.only_live:
        finished = [[state] for state in sought.where.states if state in FINAL_RUN_STATES]
        parts += [part("run_history", states) for states in finished or [[]]]
    # The page is cut before names are joined: the parts are merged then, and one with nothing for it costs one row.
    page = f"select * from ({' union all '.join(parts)}) as parts order by id desc limit {bound}"  # noqa: S608
    return query.named(page, "order by found.id desc")


def run_by_id(project: str, run_id: str) -> Query:
    query = _Composed()
    conditions = f"project_id = {query.put(project)} and id = {query.put(run_id)}"
    return query.named(f"select {_COLUMNS} from all_runs where {conditions}", "")  # noqa: S608 - texts are ours


def task_run_by_id(project: str, task_run_id: str, *, with_history: bool) -> Query:
    query = _Composed()
    conditions = f"project_id = {query.put(project)} and id = {query.put(task_run_id)}"
    return query.of_tasks("*", conditions, [task_run_id], with_history=with_history)


def runs_of_tasks(task_run_ids: Sequence[str], *, with_history: bool) -> Query:
    """The ``id`` and ``run_id`` of task runs."""
    query = _Composed()
    return query.of_tasks("id, run_id", query.one_of("id", task_run_ids), task_run_ids, with_history=with_history)


class _Composed:
    """A statement that is put together with its arguments."""

    def __init__(self) -> None:
        self._arguments: list[Any] = []

    def put(self, value: Any) -> str:
        """The place of an argument."""
        self._arguments.append(value)
        return f"${len(self._arguments)}"

    def one_of(self, column: str, values: Sequence[str]) -> str:
        places = ", ".join(self.put(value) for value in values)
        return f"{column} = {places}" if len(values) == 1 else f"{column} in ({places})"

    def named(self, found: str, end: str) -> Query:
        """The runs that are ``found``, with the names of what they belong to."""
        return self._query(
            f"""
            select found.*, w.name as workflow, v.number as version, t.name as trigger from ({found}) as found
            left join workflows w on w.id = found.workflow_id
            left join versions v on v.id = found.version_id
            left join triggers t on t.id = found.trigger_id {end}"""  # noqa: S608 - texts are ours
        )

    def of_tasks(self, columns: str, conditions: str, task_run_ids: Sequence[str], *, with_history: bool) -> Query:
        """Task runs by their ids; those that have moved lie by their runs, none of which took longer than `LONGEST`."""
        live = f"select {columns} from task_runs where {conditions}"  # noqa: S608 - texts are ours
        if not with_history:
            return self._query(live)
        first = self.put(shifted(min(task_run_ids), -LONGEST - _IDENTITY_BEFORE))
        before = self.put(shifted(max(task_run_ids), _IDENTITY_BEFORE))
        bounds = f"run_id >= {first} and run_id < {before}"
        return self._query(f"{live} union all select {columns} from task_run_history where {conditions} and {bounds}")  # noqa: S608

    def _query(self, text: str) -> Query:
        return Query(both(text), self._arguments)


def _conditions(query: _Composed, sought: Sought, span: Span) -> Iterator[str]:
    if span.first is not None:
        yield f"id >= {query.put(span.first)}"
    if span.before is not None:
        yield f"id < {query.put(span.before)}"
    if sought.where.created_after is not None:
        yield f"created_at > {query.put(sought.where.created_after)}"
    if sought.where.created_before is not None:
        yield f"created_at < {query.put(sought.where.created_before)}"
    if sought.workflow_id is not None:
        yield f"workflow_id = {query.put(sought.workflow_id)}"
    if sought.backfill_id is not None:
        yield f"backfill_id = {query.put(sought.backfill_id)}"
    if sought.trigger_ids is not None:
        yield query.one_of("trigger_id", sought.trigger_ids)
