"""Freezes, and the triggers that they hold."""

from collections.abc import Sequence
from datetime import datetime

from scheduler_application.ports.rows import Freeze
from scheduler_infrastructure.persistence.engine import Connection, Statement, both
from scheduler_infrastructure.persistence.tables import freezes


class SqlFreezes:
    """`FreezeWrites` over an open transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def active(self, now: datetime) -> list[Freeze]:
        return [Freeze(**row) for row in await self._connection.fetch(_ACTIVE, now)]

    async def ahead(self, project_id: str, now: datetime) -> int:
        found: int = (await self._connection.fetch(_AHEAD, project_id, now))[0]["number"]
        return found

    async def insert(self, freeze: Freeze) -> bool:
        return await self._connection.insert_new(freezes, freeze._asdict())

    async def lift(self, project_id: str, freeze_id: str, now: datetime) -> Freeze | None:
        rows = await self._connection.fetch(_LIFT, project_id, freeze_id, now)
        if not rows:
            return None
        await self._connection.fetch(_RELEASE, freeze_id, now)
        return Freeze(**rows[0])

    async def hold(self, held: Sequence[tuple[str, str, datetime]]) -> None:
        await self._connection.fetch_many(_HOLD, held)


_COLUMNS = ", ".join(Freeze._fields)

_ACTIVE = both(
    f"select {_COLUMNS} from freezes where ends_at > $1 and starts_at <= $1 and lifted_at is null order by ends_at desc"  # noqa: S608 - columns are ours
)

_AHEAD = both("select count(*) as number from freezes where project_id = $1 and ends_at > $2 and lifted_at is null")

_LIFT = both(
    f"""
    update freezes set lifted_at = $3
    where project_id = $1 and id = $2 and ends_at > $3 and lifted_at is null returning {_COLUMNS}"""  # noqa: S608 - columns are ours
)

_RELEASE = both("update triggers set next_at = $2 where frozen_by = $1 and active and next_at > $2")

_HOLD = Statement(
    postgres="""
        update triggers t set next_at = h.ends_at, frozen_by = h.freeze_id
        from unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) as h (id, freeze_id, ends_at) where t.id = h.id""",
    sqlite="""
        update triggers set next_at = r.value ->> 2, frozen_by = r.value ->> 1
        from json_each($1) as r where triggers.id = r.value ->> 0""",
)
