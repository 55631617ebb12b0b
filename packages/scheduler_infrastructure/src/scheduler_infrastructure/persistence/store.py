"""`Store` over a `Database`: one transaction per use case, tried again when the failure was a passing one."""

from collections.abc import Awaitable, Callable
from functools import cached_property
from typing import TypeVar

from scheduler_application.ports.persistence import Transaction
from scheduler_infrastructure.persistence.access import SqlAccess, SqlIdempotency
from scheduler_infrastructure.persistence.alert import SqlAlerts
from scheduler_infrastructure.persistence.backfill_rows import SqlBackfills
from scheduler_infrastructure.persistence.calendar import SqlCalendars
from scheduler_infrastructure.persistence.claims import SqlClaims
from scheduler_infrastructure.persistence.engine import Connection, Database
from scheduler_infrastructure.persistence.expectation import SqlExpectations
from scheduler_infrastructure.persistence.freezes import SqlFreezes
from scheduler_infrastructure.persistence.graph_rows import SqlGraph
from scheduler_infrastructure.persistence.guard import StoreGuard
from scheduler_infrastructure.persistence.heartbeat import SqlHeartbeats
from scheduler_infrastructure.persistence.history import SqlHistory
from scheduler_infrastructure.persistence.run_rows import SqlRuns
from scheduler_infrastructure.persistence.trigger import SqlTriggers
from scheduler_infrastructure.persistence.upkeep import SqlUpkeep
from scheduler_infrastructure.persistence.worker import SqlLeadership, SqlWorkers
from scheduler_infrastructure.persistence.workflow import SqlWorkflows

T = TypeVar("T")


class SqlTransaction:
    """`Transaction`: one facet per noun, made when it is first asked for."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @cached_property
    def runs(self) -> SqlRuns:
        return SqlRuns(self._connection)

    @cached_property
    def graph(self) -> SqlGraph:
        return SqlGraph(self._connection)

    @cached_property
    def claims(self) -> SqlClaims:
        return SqlClaims(self._connection)

    @cached_property
    def upkeep(self) -> SqlUpkeep:
        return SqlUpkeep(self._connection)

    @cached_property
    def workflows(self) -> SqlWorkflows:
        return SqlWorkflows(self._connection)

    @cached_property
    def triggers(self) -> SqlTriggers:
        return SqlTriggers(self._connection)

    @cached_property
    def freezes(self) -> SqlFreezes:
        return SqlFreezes(self._connection)

    @cached_property
    def backfills(self) -> SqlBackfills:
        return SqlBackfills(self._connection)

    @cached_property
    def calendars(self) -> SqlCalendars:
        return SqlCalendars(self._connection)

    @cached_property
    def expectations(self) -> SqlExpectations:
        return SqlExpectations(self._connection)

    @cached_property
    def heartbeats(self) -> SqlHeartbeats:
        return SqlHeartbeats(self._connection)

    @cached_property
    def alerts(self) -> SqlAlerts:
        return SqlAlerts(self._connection)

    @cached_property
    def workers(self) -> SqlWorkers:
        return SqlWorkers(self._connection)

    @cached_property
    def leadership(self) -> SqlLeadership:
        return SqlLeadership(self._connection)

    @cached_property
    def access(self) -> SqlAccess:
        return SqlAccess(self._connection)

    @cached_property
    def idempotency(self) -> SqlIdempotency:
        return SqlIdempotency(self._connection)

    @cached_property
    def history(self) -> SqlHistory:
        return SqlHistory(self._connection)


class SqlStore:
    """`Store`: the guard runs each transaction with the process's retries, deadline and breaker."""

    def __init__(self, database: Database, guard: StoreGuard) -> None:
        self._database = database
        self._guard = guard

    async def transact(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        async def once() -> T:
            async with self._database.transaction() as connection:
                return await work(SqlTransaction(connection))

        return await self._guard.run(once)
