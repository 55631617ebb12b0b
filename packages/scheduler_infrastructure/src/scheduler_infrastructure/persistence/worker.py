"""Workers' leases and the lead: everything here compares with the store's own clock, inside the statement."""

from collections.abc import Sequence

import msgspec
from sqlalchemy import update

from scheduler_application.errors import LeadershipLost
from scheduler_application.ports.rows import Lead, WorkerRow
from scheduler_infrastructure.persistence.engine import Connection, Statement, both
from scheduler_infrastructure.persistence.tables import workers

LEAD = "dispatcher"


class SqlWorkers:
    """`WorkerWrites` over an open transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def register(self, worker: WorkerRow, lease_seconds: float) -> None:
        queues = msgspec.json.encode(list(worker.queues)).decode()
        await self._connection.fetch(
            _REGISTER,
            worker.id,
            worker.name,
            worker.version,
            queues,
            worker.slots,
            lease_seconds,
        )

    async def renew(self, worker_id: str, lease_seconds: float) -> str | None:
        rows = await self._connection.fetch(_RENEW, worker_id, lease_seconds)
        return rows[0]["state"] if rows else None

    async def set_state(self, worker_id: str, state: str) -> bool:
        live = workers.c.state.in_(["active", "draining"])
        return (
            await self._connection.run(update(workers).where(workers.c.id == worker_id, live).values(state=state)) > 0
        )

    async def to_cancel(self, worker_id: str) -> list[tuple[str, int]]:
        return [(row["id"], row["claim_no"]) for row in await self._connection.fetch(_TO_CANCEL, worker_id)]

    async def expired(self, limit: int) -> list[str]:
        await self._connection.fetch(_EXPIRE, limit)
        return [row["worker_id"] for row in await self._connection.fetch(_LEFT_BEHIND, limit)]

    async def any_live(self) -> bool:
        return bool(await self._connection.fetch(_ANY_LIVE))


class SqlLeadership:
    """`LeadershipWrites` over an open transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def acquire(self, holder: str, lease_seconds: float) -> Lead | None:
        renewed = await self._connection.fetch(_RENEW_LEAD, LEAD, holder, lease_seconds)
        if renewed:
            return Lead(renewed[0]["epoch"], None)
        former = await self._connection.fetch(_FORMER_LEAD, LEAD)
        taken = await self._connection.fetch(_TAKE_LEAD, LEAD, holder, lease_seconds)
        if not taken:
            return None
        vacant = (former[0]["now_at"] - former[0]["lease_until"]).total_seconds() if former else None
        return Lead(taken[0]["epoch"], vacant)

    async def assert_epoch(self, holder: str, epoch: int) -> None:
        if not await self._connection.fetch(_ASSERT_EPOCH, LEAD, holder, epoch):
            raise LeadershipLost(f"epoch {epoch} is over")

    async def resign(self, holder: str, epoch: int, vacant_seconds: float) -> None:
        await self._connection.fetch(_RESIGN, LEAD, holder, epoch, -vacant_seconds)


_IN_PG = "clock_timestamp() + make_interval(secs => {})"
_IN_SQLITE = "later({})"
"""``later(seconds)`` is the SQLite connection's own: the store's clock plus so many seconds."""

_REGISTER = Statement(
    postgres=f"""
        insert into workers (id, name, version, queues, slots, state, started_at, lease_until)
        values ($1, $2, $3, $4, $5, 'active', clock_timestamp(), {_IN_PG.format("$6::float8")})
        on conflict (id) do nothing""",  # noqa: S608
    sqlite=f"""
        insert into workers (id, name, version, queues, slots, state, started_at, lease_until)
        values ($1, $2, $3, $4, $5, 'active', clock_timestamp(), {_IN_SQLITE.format("$6")})
        on conflict (id) do nothing""",  # noqa: S608
)

_RENEW = Statement(
    postgres=f"""
        update workers set lease_until = {_IN_PG.format("$2::float8")}
        where id = $1 and state in ('active', 'draining') and lease_until > clock_timestamp() returning state""",  # noqa: S608
    sqlite=f"""
        update workers set lease_until = {_IN_SQLITE.format("$2")}
        where id = $1 and state in ('active', 'draining') and lease_until > clock_timestamp() returning state""",  # noqa: S608
)

_TO_CANCEL = both(
    """
    select t.id, t.claim_no from task_runs t join runs r on r.id = t.run_id
    where t.worker_id = $1 and t.state = 'running' and (t.cancel_requested or r.state = 'cancelling')"""
)

_EXPIRE = both(
    """
    update workers set state = 'lost' where id in (
        select id from workers where state in ('active', 'draining') and lease_until <= clock_timestamp() limit $1)"""
)

_LEFT_BEHIND = both(
    """
    select distinct t.worker_id from task_runs t join workers w on w.id = t.worker_id
    where t.state = 'running' and w.state in ('lost', 'gone') limit $1"""
)

_ANY_LIVE = both("select 1 as live from workers where state = 'active' and lease_until > clock_timestamp() limit 1")

_RENEW_LEAD = Statement(
    postgres=f"""
        update leadership set lease_until = {_IN_PG.format("$3::float8")}
        where name = $1 and holder = $2 and lease_until > clock_timestamp() returning epoch""",  # noqa: S608
    sqlite=f"""
        update leadership set lease_until = {_IN_SQLITE.format("$3")}
        where name = $1 and holder = $2 and lease_until > clock_timestamp() returning epoch""",  # noqa: S608
)

# A term that ran out is over even for its own holder: coming back makes a new epoch.
_TAKE_LEAD = Statement(
    postgres=f"""
        insert into leadership as l (name, holder, epoch, lease_until)
        values ($1, $2, 1, {_IN_PG.format("$3::float8")})
        on conflict (name) do update set holder = excluded.holder, epoch = l.epoch + 1,
            lease_until = excluded.lease_until
        where l.lease_until <= clock_timestamp() returning epoch""",  # noqa: S608
    sqlite=f"""
        insert into leadership as l (name, holder, epoch, lease_until) values ($1, $2, 1, {_IN_SQLITE.format("$3")})
        on conflict (name) do update set holder = excluded.holder, epoch = l.epoch + 1,
            lease_until = excluded.lease_until
        where l.lease_until <= clock_timestamp() returning epoch""",  # noqa: S608
)

# The share lock makes a takeover wait for this transaction, and this transaction see any takeover before it.
_ASSERT_EPOCH = Statement(
    postgres="""
        select epoch from leadership
        where name = $1 and holder = $2 and epoch = $3 and lease_until > clock_timestamp() for share""",
    sqlite="""
        select epoch from leadership where name = $1 and holder = $2 and epoch = $3 and lease_until >
        clock_timestamp()""",
)

_FORMER_LEAD = both("select lease_until, clock_timestamp() as now_at from leadership where name = $1")

_RESIGN = Statement(
    postgres=f"""
        update leadership set lease_until = {_IN_PG.format("$4::float8")}
        where name = $1 and holder = $2 and epoch = $3""",  # noqa: S608
    sqlite=f"""
        update leadership set lease_until = {_IN_SQLITE.format("$4")}
        where name = $1 and holder = $2 and epoch = $3""",  # noqa: S608
)


def queues_of(text: str) -> Sequence[str]:
    """The queues that a worker's row names."""
    return msgspec.json.decode(text, type=list[str])
