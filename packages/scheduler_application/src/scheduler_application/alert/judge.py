"""Judging the deadlines that are due: what did not happen by then raises an alert. For the leader."""

from scheduler_application.alert.expectations import judge_expectations
from scheduler_application.alert.heartbeats import judge_heartbeats
from scheduler_application.alert.telling import Alerted, tell_alerts
from scheduler_application.leading import Leadership
from scheduler_application.ports.observing import Metrics
from scheduler_application.ports.persistence import Store, Transaction
from scheduler_application.ports.time import Clock, Ids
from scheduler_application.run.announce import Announcer


class JudgeDeadlines:
    """Bounded transactions one after the other, until nothing is due; each proves the epoch."""

    def __init__(self, store: Store, ids: Ids, clock: Clock, announcer: Announcer, metrics: Metrics) -> None:
        self._store = store
        self._ids = ids
        self._clock = clock
        self._announcer = announcer
        self._metrics = metrics

    async def execute(self, leadership: Leadership) -> Alerted:
        """What was decided; raises `LeadershipLost`, `Unavailable`."""
        total = Alerted()
        more = True
        while more:
            began = self._clock.monotonic()
            judged, more = await self._store.transact(lambda tx: self._judge(tx, leadership))
            if judged.deadlines:
                self._metrics.batch("judge", judged.deadlines, self._clock.monotonic() - began)
            tell_alerts(self._announcer, self._metrics, judged)
            total += judged
        return total

    async def _judge(self, tx: Transaction, leadership: Leadership) -> tuple[Alerted, bool]:
        await leadership.check(tx)
        now = self._clock.now()
        alerted, more = await judge_expectations(tx, self._ids, now)
        silent, more_silent = await judge_heartbeats(tx, self._ids, now)
        alerted += silent
        return alerted, more or more_silent
