"""Task logs in the store: chunks keyed by attempt and number, so that a repeated append changes nothing."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import RowMapping, and_, or_, select

from scheduler_application.errors import Rejected
from scheduler_application.ports.logs import LogChunk
from scheduler_infrastructure.persistence.columns import instant_from_text
from scheduler_infrastructure.persistence.engine import Connection, Database, Statement
from scheduler_infrastructure.persistence.guard import StoreGuard
from scheduler_infrastructure.persistence.history_tables import all_task_runs
from scheduler_infrastructure.persistence.tables import log_chunks


class SqlLogStore:
    """`LogStore`."""

    def __init__(self, database: Database, guard: StoreGuard) -> None:
        self._database = database
        self._guard = guard

    async def append(self, chunks: Sequence[LogChunk]) -> None:
        async def write() -> None:
            async with self._database.transaction() as connection:
                await _insert(connection, chunks)

        await self._guard.run(write)

    async def read(
        self,
        project: str,
        run_id: str,
        *,
        task: str | None,
        after: str | None,
        limit: int,
    ) -> list[LogChunk]:
        key = (
            log_chunks.c.at,
            log_chunks.c.task_run_id,
            log_chunks.c.claim_no,
            log_chunks.c.seq,
        )
        query = select(log_chunks).where(
            log_chunks.c.run_id == run_id,
            log_chunks.c.project_id == project,
            # Task runs are made after their run: older partitions need not be looked into.
            log_chunks.c.task_run_id >= run_id,
        )
        if task is not None:
            own = select(all_task_runs.c.id).where(all_task_runs.c.run_id == run_id, all_task_runs.c.task == task)
            query = query.where(log_chunks.c.task_run_id.in_(own))
        if after is not None:
            values = _position(after)
            query = query.where(
                or_(
                    *(
                        and_(
                            *(column == value for column, value in zip(key[:i], values[:i], strict=True)),
                            key[i] > values[i],
                        )
                        for i in range(len(key))
                    )
                )
            )
        statement = query.order_by(*key).limit(limit)

        async def fetch() -> list[LogChunk]:
            async with self._database.reading() as connection:
                rows = await connection.rows(statement)
            return [_chunk(row) for row in rows]

        return await self._guard.run(fetch)


def _position(cursor: str) -> tuple[datetime, str, int, int]:
    try:
        at, task_run_id, claim_no, seq = cursor.split("|")
        return instant_from_text(at), task_run_id, int(claim_no), int(seq)
    except ValueError:
        raise Rejected("the cursor is not one of this log", code="invalid_cursor") from None


def _chunk(row: RowMapping) -> LogChunk:
    return LogChunk(
        row["project_id"],
        row["run_id"],
        row["task_run_id"],
        row["claim_no"],
        row["seq"],
        row["stream"],
        row["at"],
        row["data"],
        bool(row["truncated"]),
    )


async def _insert(connection: Connection, chunks: Sequence[LogChunk]) -> None:
    rows = [
        (
            chunk.task_run_id,
            chunk.claim_no,
            chunk.seq,
            chunk.run_id,
            chunk.project,
            chunk.stream,
            chunk.at,
            chunk.data if connection.dialect == "postgresql" else chunk.data.hex(),
            chunk.truncated,
        )
        for chunk in chunks
    ]
    await connection.fetch_many(_INSERT, rows)


# JSON has no bytes: SQLite gets them as hexadecimal text and stores the text's bytes back as a blob.
_INSERT = Statement(
    postgres="""
        insert into log_chunks (task_run_id, claim_no, seq, run_id, project_id, stream, at, data, truncated)
        select c.* from unnest($1::uuid[], $2::int[], $3::int[], $4::uuid[], $5::uuid[], $6::text[], $7::timestamptz[],
            $8::bytea[], $9::boolean[]) as c
        on conflict do nothing""",
    sqlite="""
        insert into log_chunks (task_run_id, claim_no, seq, run_id, project_id, stream, at, data, truncated)
        select r.value ->> 0, r.value ->> 1, r.value ->> 2, r.value ->> 3, r.value ->> 4, r.value ->> 5, r.value ->> 6,
            from_hex(r.value ->> 7), r.value ->> 8
        from json_each($1) as r where true on conflict do nothing""",
)
