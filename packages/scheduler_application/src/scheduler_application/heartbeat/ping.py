"""A ping: whoever has the address says that the job lives, begins or failed."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from scheduler_application.alert.heartbeats import failed_alert, missed_alert, recovered_alert
from scheduler_application.alert.telling import Alerted, AlertKind, only_new, tell_alerts
from scheduler_application.errors import NotFound
from scheduler_application.heartbeat.tokens import token_hash
from scheduler_application.ports.observing import Metrics
from scheduler_application.ports.persistence import Store, Transaction
from scheduler_application.ports.rows import HeartbeatRow, NewAlert
from scheduler_application.ports.time import Clock, Ids
from scheduler_application.run.announce import Announcer
from scheduler_domain.schedule.deadlines import HeartbeatState, next_ping_due

MAX_MESSAGE_BYTES = 10 * 1024


class PingSignal(StrEnum):
    """``start`` begins the time that the next ping ends; only ``ping`` meets a deadline."""

    PING = "ping"
    START = "start"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class PingCommand:
    """``body`` is whatever the job sent along; its first `MAX_MESSAGE_BYTES` are kept."""

    token: str
    signal: PingSignal
    body: bytes = b""


class PingHeartbeat:
    """Needs nothing but the token. Under the heartbeat's lock, so that a ping and the leader's pass never both judge
    one deadline."""

    def __init__(self, store: Store, clock: Clock, ids: Ids, announcer: Announcer, metrics: Metrics) -> None:
        self._store = store
        self._clock = clock
        self._ids = ids
        self._announcer = announcer
        self._metrics = metrics

    async def execute(self, command: PingCommand) -> Alerted:
        """What the ping raised and ended; raises `NotFound`, the same for every token that is not one."""
        known_by = token_hash(command.token)
        if known_by is None:
            raise NotFound("there is no such heartbeat")
        alerted = await self._store.transact(lambda tx: self._take(tx, known_by, command))
        tell_alerts(self._announcer, self._metrics, alerted)
        return alerted

    async def _take(self, tx: Transaction, known_by: str, command: PingCommand) -> Alerted:
        row = await tx.heartbeats.by_token(known_by)
        if row is None:
            raise NotFound("there is no such heartbeat")
        now = self._clock.now()
        message = _text(command.body)
        values = _noted(row, command, message, now)
        alerts: list[NewAlert] = []
        if command.signal is not PingSignal.START and row.state != HeartbeatState.PAUSED:
            alerts = self._judged(row, command.signal, message, now)
            values |= _standing(row, command.signal, now)
        await tx.heartbeats.update(row.id, values)
        alerted = Alerted(0, only_new(alerts, await tx.alerts.add(alerts)))
        if any(alert.kind == AlertKind.HEARTBEAT_RECOVERED for alert in alerts):
            alerted.resolved += await tx.alerts.resolve([row.id], now)
        return alerted

    def _judged(self, row: HeartbeatRow, signal: PingSignal, message: str, now: datetime) -> list[NewAlert]:
        # Nobody led when its grace ended: the ping that comes too late finds the miss.
        missed = row.next_at is not None and row.next_at <= now
        was_down = missed or row.state == HeartbeatState.DOWN
        alerts = [missed_alert(self._ids.new(), row, now)] if missed else []
        if signal is PingSignal.PING and was_down:
            alerts.append(recovered_alert(self._ids.new(), row, now))
        elif signal is PingSignal.FAIL and not was_down:
            alerts.append(failed_alert(self._ids.new(), row, message, now))
        return alerts


def _noted(row: HeartbeatRow, command: PingCommand, message: str, now: datetime) -> dict[str, Any]:
    """What every signal leaves, whatever it changes."""
    values: dict[str, Any] = {
        "last_signal": command.signal.value,
        "last_signal_at": now,
        "last_message": message,
        "message_truncated": len(command.body) > MAX_MESSAGE_BYTES,
    }
    if command.signal is PingSignal.START:
        return {**values, "started_at": now}
    took = None if row.started_at is None else (now - row.started_at) // timedelta(milliseconds=1)
    values |= {"started_at": None, "took_ms": took}
    return {**values, "last_ping_at": now} if command.signal is PingSignal.PING else values


def _standing(row: HeartbeatRow, signal: PingSignal, now: datetime) -> dict[str, Any]:
    if signal is PingSignal.FAIL:
        return {"state": HeartbeatState.DOWN.value, "next_at": None}
    due_at = next_ping_due(row.kind, row.expression, row.timezone, now, row.id)
    if due_at is None:
        return {"state": HeartbeatState.DOWN.value, "next_at": None}
    next_at = due_at + timedelta(seconds=row.grace_seconds)
    return {"state": HeartbeatState.UP.value, "due_at": due_at, "next_at": next_at}


def _text(body: bytes) -> str:
    """The first part of ``body`` as text; what is no text, and what a store cannot hold, is replaced."""
    return body[:MAX_MESSAGE_BYTES].decode("utf-8", "replace").replace("\x00", "\ufffd")
