"""Expectations: the deadlines that are due, and whether a run came to what they ask for."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select, update

from scheduler_application.ports.rows import DueExpectation, ExpectedRun, JudgedExpectation, LastRun
from scheduler_domain.run.states import FINAL_RUN_STATES
from scheduler_infrastructure.persistence.engine import Connection, Statement
from scheduler_infrastructure.persistence.tables import expectations


class SqlExpectations:
    """`ExpectationWrites` over an open transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def of_workflow(self, workflow_id: str) -> list[dict[str, Any]]:
        query = select(expectations).where(expectations.c.workflow_id == workflow_id).order_by(expectations.c.name)
        return [dict(row) for row in await self._connection.rows(query)]

    async def insert(self, rows: Sequence[dict[str, Any]]) -> None:
        for row in rows:
            await self._connection.run(insert(expectations).values(**row))

    async def update(self, expectation_id: str, values: dict[str, Any]) -> None:
        changed = update(expectations).where(expectations.c.id == expectation_id).values(**values)
        await self._connection.run(changed)

    async def due(self, now: datetime, limit: int) -> list[DueExpectation]:
        return [DueExpectation(**row) for row in await self._connection.fetch(_DUE, now, limit)]

    async def met(self, questions: Sequence[ExpectedRun]) -> set[int]:
        return {row["place"] for row in await self._connection.fetch_many(MET, questions)}

    async def last_runs(self, workflow_ids: Sequence[str]) -> dict[str, LastRun]:
        rows = await self._connection.fetch(_LAST_RUNS, list(workflow_ids))
        return {row["workflow_id"]: LastRun(**row) for row in rows}

    async def advance(self, judged: Sequence[JudgedExpectation]) -> None:
        await self._connection.fetch_many(_ADVANCE, judged)

    async def quarantine(self, expectation_id: str, error: str) -> None:
        await self.update(expectation_id, {"next_at": None, "error": error[:1000]})


_DUE_COLUMNS = (
    "e.id, e.project_id, e.workflow_id, w.name as workflow, e.name, e.expression, e.timezone, e.state, "
    "e.within_seconds, e.next_at"
)

_DUE = Statement(
    postgres=f"""
        select {_DUE_COLUMNS} from expectations e join workflows w on w.id = e.workflow_id
        where e.active and e.next_at is not null and e.next_at <= $1
        order by e.next_at limit $2 for update of e skip locked""",  # noqa: S608 - columns are ours
    sqlite=f"""
        select {_DUE_COLUMNS} from expectations e join workflows w on w.id = e.workflow_id
        where e.active and e.next_at is not null and e.next_at <= $1
        order by e.next_at limit $2""",  # noqa: S608 - columns are ours
)

_FINAL = ", ".join(f"'{state}'" for state in sorted(FINAL_RUN_STATES))

# Each question is one look into an index, whatever the number of runs that came to something else.
_MET_CASE = f"""
    case w.state
    when 'succeeded' then exists (
        select 1 from all_runs r where r.workflow_id = w.workflow_id and r.state = 'succeeded'
            and r.finished_at is not null and r.finished_at > w.since_at and r.finished_at <= w.until_at)
    when 'finished' then exists (
        select 1 from all_runs r where r.workflow_id = w.workflow_id and r.state in ({_FINAL})
            and r.finished_at is not null and r.finished_at > w.since_at and r.finished_at <= w.until_at)
    else exists (
        select 1 from all_runs r where r.workflow_id = w.workflow_id
            and r.started_at is not null and r.started_at > w.since_at and r.started_at <= w.until_at)
    end"""  # noqa: S608 - the states are ours

MET = Statement(
    postgres=f"""
        select w.place from unnest($1::int[], $2::uuid[], $3::text[], $4::timestamptz[], $5::timestamptz[])
            as w (place, workflow_id, state, since_at, until_at)
        where {_MET_CASE}""",  # noqa: S608 - as above
    sqlite=f"""
        select w.place from (
            select value ->> 0 as place, value ->> 1 as workflow_id, value ->> 2 as state, value ->> 3 as since_at,
                value ->> 4 as until_at
            from json_each($1)) as w
        where {_MET_CASE}""",  # noqa: S608 - as above
)

_LAST_RUN = "(select id from all_runs where workflow_id = w.workflow_id order by id desc limit 1)"

_LAST_RUNS = Statement(
    postgres=f"""
        select r.workflow_id, r.id, r.state, r.created_at, r.finished_at
        from unnest($1::uuid[]) as w (workflow_id) join all_runs r on r.id = {_LAST_RUN}""",  # noqa: S608 - ours
    sqlite=f"""
        select r.workflow_id, r.id, r.state, r.created_at, r.finished_at
        from (select value as workflow_id from json_each($1)) as w join all_runs r on r.id = {_LAST_RUN}""",  # noqa: S608
)

_ADVANCE = Statement(
    postgres="""
        update expectations e set next_at = j.next_at, last_at = j.last_at, last_result = j.last_result
        from unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[], $4::text[]) as j
            (id, next_at, last_at, last_result)
        where e.id = j.id""",
    sqlite="""
        update expectations set next_at = r.value ->> 1, last_at = r.value ->> 2, last_result = r.value ->> 3
        from json_each($1) as r where expectations.id = r.value ->> 0""",
)
