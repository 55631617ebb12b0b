"""Was there a run that came to what was expected, in the time that the deadline looks at? It costs what is due,
whatever the history of runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from scheduler_application.alert.telling import Alerted, AlertKind, only_new
from scheduler_application.json_values import json_text
from scheduler_application.ports.persistence import Transaction
from scheduler_application.ports.rows import DueExpectation, ExpectedRun, JudgedExpectation, LastRun, NewAlert
from scheduler_application.ports.time import Ids
from scheduler_domain.errors import DomainError
from scheduler_domain.schedule.deadlines import Verdict, window_start
from scheduler_domain.schedule.steps import Timetable
from scheduler_domain.schedule.timetable import parse_timetable
from scheduler_domain.schedule.zones import zone_named

EXPECTATIONS_AT_ONCE = 200
"""How many expectations one transaction judges."""

DEADLINES_AT_ONCE = 500
"""How many deadlines one transaction judges; what is over waits for the next one, which follows at once."""

_SAID = {"succeeded": "have succeeded", "finished": "have finished", "started": "have started"}


@dataclass(frozen=True, slots=True)
class _Deadline:
    expectation: DueExpectation
    due_at: datetime
    since: datetime


@dataclass(frozen=True, slots=True)
class _Due:
    """An expectation with its deadlines that have come, the earliest first, and the one after them."""

    expectation: DueExpectation
    deadlines: Sequence[_Deadline]
    next_at: datetime | None


async def judge_expectations(tx: Transaction, ids: Ids, now: datetime) -> tuple[Alerted, bool]:
    """Judges the deadlines that are due, each once, by what the store says of the time that it looks at; and whether
    there are more. One that is missed raises an alert, one that is met ends the alerts of its expectation."""
    found = await tx.expectations.due(now, EXPECTATIONS_AT_ONCE)
    due = await _due(tx, found, now)
    deadlines = [deadline for one in due for deadline in one.deadlines]
    met = await tx.expectations.met([_question(place, each) for place, each in enumerate(deadlines)])
    missed = [deadline for place, deadline in enumerate(deadlines) if place not in met]
    alerts = await _alerts(tx, ids, missed, now)
    alerted = Alerted(len(deadlines), only_new(alerts, await tx.alerts.add(alerts)))
    missed_last = {(deadline.expectation.id, deadline.due_at) for deadline in missed}
    judged = [_moved(one, missed_last) for one in due]
    await tx.expectations.advance(judged)
    kept = [each.id for each in judged if each.last_result == Verdict.MET]
    alerted.resolved += await tx.alerts.resolve(kept, now)
    more = len(found) == EXPECTATIONS_AT_ONCE or len(due) < len(found)
    return alerted, more or any(one.next_at is not None and one.next_at <= now for one in due)


async def _due(tx: Transaction, found: Sequence[DueExpectation], now: datetime) -> list[_Due]:
    """As many as there is room for; one that cannot be evaluated is put aside with the reason."""
    due: list[_Due] = []
    room = DEADLINES_AT_ONCE
    for expectation in found:
        if room <= 0:
            break
        try:
            one = _deadlines_until(expectation, now, room)
        except (DomainError, ValueError, OverflowError) as error:
            await tx.expectations.quarantine(expectation.id, f"{type(error).__name__}: {error}")
            continue
        room -= len(one.deadlines)
        due.append(one)
    return due


async def _alerts(tx: Transaction, ids: Ids, missed: Sequence[_Deadline], now: datetime) -> list[NewAlert]:
    if not missed:
        return []
    workflows = sorted({deadline.expectation.workflow_id for deadline in missed})
    last = await tx.expectations.last_runs(workflows)
    return [_alert(ids.new(), deadline, last, now) for deadline in missed]


def _deadlines_until(expectation: DueExpectation, now: datetime, limit: int) -> _Due:
    timetable: Timetable = parse_timetable(
        "schedule", expectation.expression, expectation.timezone, seed=expectation.id
    )
    within = None if expectation.within_seconds is None else timedelta(seconds=expectation.within_seconds)
    found: list[_Deadline] = []
    due_at: datetime | None = expectation.next_at
    while due_at is not None and due_at <= now and len(found) < limit:
        found.append(_Deadline(expectation, due_at, window_start(timetable, due_at, within)))
        due_at = timetable.next_after(due_at)
    return _Due(expectation, found, due_at)


def _question(place: int, deadline: _Deadline) -> ExpectedRun:
    expectation = deadline.expectation
    return ExpectedRun(place, expectation.workflow_id, expectation.state, deadline.since, deadline.due_at)


def _moved(one: _Due, missed: set[tuple[str, datetime]]) -> JudgedExpectation:
    last_at = one.deadlines[-1].due_at
    result = Verdict.MISSED if (one.expectation.id, last_at) in missed else Verdict.MET
    return JudgedExpectation(one.expectation.id, one.next_at, last_at, result.value)


def _alert(alert_id: str, deadline: _Deadline, last_runs: Mapping[str, LastRun], now: datetime) -> NewAlert:
    expectation = deadline.expectation
    zone = zone_named(expectation.timezone)
    last = last_runs.get(expectation.workflow_id)
    by, since = (moment.astimezone(zone).isoformat() for moment in (deadline.due_at, deadline.since))
    detail = {
        "expectation": expectation.name,
        "state": expectation.state,
        "by": by,
        "since": since,
        "last_run": None if last is None else {"id": last.id, "state": last.state, "created_at": _utc(last.created_at)},
    }
    return NewAlert(
        id=alert_id,
        project_id=expectation.project_id,
        kind=AlertKind.EXPECTATION_MISSED.value,
        source_id=expectation.id,
        deadline_at=deadline.due_at,
        workflow_id=expectation.workflow_id,
        heartbeat=None,
        key=f"workflow/{expectation.workflow}/expect/{expectation.name}",
        message=f"{expectation.workflow} was to {_SAID[expectation.state]} by {by}, and no run did since {since}; "
        + _about(last),
        detail=json_text(detail),
        at=now,
    )


def _about(last: LastRun | None) -> str:
    if last is None:
        return "it has never run"
    ended = "" if last.finished_at is None else f" since {_utc(last.finished_at)}"
    return f"its last run {last.id} is {last.state}{ended}"


def _utc(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
