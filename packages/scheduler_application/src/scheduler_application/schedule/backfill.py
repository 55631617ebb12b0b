"""Backfills in the leader's hands: due times of the past get their runs, a few at a time, behind everything else."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from typing import NamedTuple

from scheduler_application.errors import ApplicationError, Conflict, NotFound
from scheduler_application.leading import Leadership
from scheduler_application.ports.calendars import Calendars
from scheduler_application.ports.observing import Metrics, Tracer
from scheduler_application.ports.persistence import Store, Transaction
from scheduler_application.ports.rows import HeldBackfill
from scheduler_application.ports.time import Clock
from scheduler_application.run.advance import advance
from scheduler_application.run.announce import Announcer
from scheduler_application.run.begin import RunRequest, in_its_slot
from scheduler_application.run.control import STOPPED_AT_ONCE, StopRuns
from scheduler_application.run.definitions import Version
from scheduler_application.run.open_runs import Engine, OpenRuns
from scheduler_application.run.progress import Progress
from scheduler_application.schedule.due_run import DueRun, request_for
from scheduler_application.schedule.due_times import due_times
from scheduler_application.workflow.live_triggers import calendar_rule
from scheduler_application.workflow.policy_text import policy_of
from scheduler_domain.errors import DomainError
from scheduler_domain.schedule.backfill import BackfillEvent, BackfillState
from scheduler_domain.schedule.calendar import CalendarRule
from scheduler_domain.workflow.definition import OnConflict, Priority

OPEN_AT_ONCE = 1_000
"""How many backfills one pass sees to."""

STARTED_AT_ONCE = 100
LOOKED_AT_ONCE = 500
"""How many runs one transaction starts, and how many due times it looks at."""

STEPS_AT_ONCE = 20
"""How many transactions one pass gives a backfill that goes through due times which need no run."""

_REASON_LENGTH = 500
_PRIORITIES = tuple(Priority)


class Advanced(NamedTuple):
    """How much a pass found to do, and whether any backfill is open."""

    done: int
    any_open: bool


@dataclass(slots=True)
class _Step:
    """What one transaction did for one backfill. ``more``: the next one follows at once."""

    done: int = 0
    more: bool = False
    to_stop: Sequence[str] = ()
    progress: Progress = field(default_factory=Progress)


@dataclass(slots=True)
class _Page:
    """The next due times of a backfill: those that are to have a run, those that have one already, and the first that
    is not looked at."""

    wanted: list[datetime]
    covered: list[datetime]
    next_at: datetime | None


class AdvanceBackfills:
    """Starts the next runs of each running backfill, as far as it has room for them, and ends those that are over. For
    the leader."""

    def __init__(
        self,
        store: Store,
        engine: Engine,
        calendars: Calendars,
        clock: Clock,
        announcer: Announcer,
        metrics: Metrics,
        tracer: Tracer,
        stop: StopRuns,
    ) -> None:
        self._store = store
        self._engine = engine
        self._calendars = calendars
        self._clock = clock
        self._announcer = announcer
        self._metrics = metrics
        self._tracer = tracer
        self._stop = stop

    async def execute(self, leadership: Leadership) -> Advanced:
        """Raises `LeadershipLost`, `Unavailable`."""

        async def find(tx: Transaction) -> list[str]:
            await leadership.check(tx)
            return await tx.backfills.open(OPEN_AT_ONCE)

        open_ones = await self._store.transact(find)
        done = 0
        for backfill_id in open_ones:
            done += await self._advance(backfill_id, leadership)
        return Advanced(done, bool(open_ones))

    async def _advance(self, backfill_id: str, leadership: Leadership) -> int:
        done = 0
        for _ in range(STEPS_AT_ONCE):
            began = self._clock.monotonic()
            step = await self._store.transact(lambda tx: self._step(tx, backfill_id, leadership))
            if step.done:
                self._metrics.batch("backfill", step.done, self._clock.monotonic() - began)
            self._announcer.tell(step.progress)
            if step.to_stop:
                await self._stop.execute(step.to_stop, "cancel", leadership)
            done += step.done
            if not step.more:
                break
        return done

    async def _step(self, tx: Transaction, backfill_id: str, leadership: Leadership) -> _Step:
        await leadership.check(tx)
        backfill = await tx.backfills.lock(backfill_id)
        if backfill is None:
            return _Step()
        live = await tx.backfills.live_runs(backfill_id)
        if backfill.state is BackfillState.CANCELLING:
            return await self._end(tx, backfill, live)
        if backfill.state is not BackfillState.RUNNING:
            return _Step()
        reason = hindrance(backfill)
        if reason is not None:
            await tx.backfills.move(backfill_id, BackfillEvent.PAUSE, reason, self._clock.now())
            return _Step(done=1)
        if backfill.next_at is None:
            return await self._finish(tx, backfill, live)
        room = min(backfill.max_parallel - live, STARTED_AT_ONCE)
        return await self._start(tx, backfill, room, live) if room > 0 else _Step()

    async def _end(self, tx: Transaction, backfill: HeldBackfill, live: int) -> _Step:
        if live:
            to_stop = await tx.backfills.stoppable_runs(backfill.id, STOPPED_AT_ONCE)
            return _Step(done=len(to_stop), more=bool(to_stop), to_stop=to_stop)
        await tx.backfills.move(backfill.id, BackfillEvent.FINISH_CANCEL, None, self._clock.now())
        return _Step(done=1)

    async def _finish(self, tx: Transaction, backfill: HeldBackfill, live: int) -> _Step:
        if live:
            return _Step()
        await tx.backfills.move(backfill.id, BackfillEvent.FINISH, None, self._clock.now())
        return _Step(done=1)

    async def _start(self, tx: Transaction, backfill: HeldBackfill, room: int, live: int) -> _Step:
        runs = OpenRuns(tx, self._engine, self._clock)
        try:
            version = await self._engine.definitions.get(tx, backfill.version_id or "")
        except (Conflict, NotFound) as error:
            await tx.backfills.move(backfill.id, BackfillEvent.PAUSE, _text(error), runs.now)
            return _Step(done=1)
        try:
            policy = policy_of(backfill.policy)
            calendar = await calendar_rule(self._calendars, tx, backfill.project_id, policy)
            due = _next_due_times(backfill, calendar)
        except _NOT_EVALUATED as error:
            reason = f"the due times cannot be computed: {_text(error)}"
            await tx.backfills.move(backfill.id, BackfillEvent.PAUSE, reason, runs.now)
            return _Step(done=1)
        page = await _page(tx, backfill, due, room)
        requests, refused = self._requests(backfill, version, page.wanted, runs.now)
        begun = (await runs.begin(requests)).begun
        next_at = page.next_at
        if refused is not None:
            next_at = page.wanted[len(requests)]
        # No room in the workflow's concurrency: the due time keeps its place and waits.
        waits = [one.request.due_at for one in begun if one.skipped_by is not None]
        if waits:
            next_at = waits[0]
        started = sum(one.state is not None for one in begun)
        skipped = sum(next_at is None or due_at < next_at for due_at in page.covered)
        await tx.backfills.advance(backfill.id, next_at, started, skipped)
        if refused is not None and not waits:
            await tx.backfills.move(backfill.id, BackfillEvent.PAUSE, refused, runs.now)
        elif next_at is None and not live and not started:
            await tx.backfills.move(backfill.id, BackfillEvent.FINISH, None, runs.now)
        more = next_at is not None and started < room and refused is None and not waits
        return _Step(started + skipped, more, (), await advance(runs))

    def _requests(
        self, backfill: HeldBackfill, version: Version, due_ats: Sequence[datetime], now: datetime
    ) -> tuple[list[RunRequest], str | None]:
        """The requests of the first ``due_ats``, and why the one after them cannot be made."""
        requests: list[RunRequest] = []
        started_by = f"backfill:{backfill.id}"
        for due_at in due_ats:
            due = DueRun(backfill.project_id, backfill.trigger, backfill.timezone, due_at, started_by)
            try:
                request = request_for(due, version, self._engine, self._tracer, now)
                request = replace(request, backfill_id=backfill.id, priority=_PRIORITIES[backfill.priority])
                requests.append(_waits(in_its_slot(request, now, self._engine.variables)))
            except _NOT_EVALUATED as error:
                return requests, f"the run for {due_at.isoformat()} cannot be started: {_text(error)}"
        return requests, None


def hindrance(backfill: HeldBackfill) -> str | None:
    """Why the backfill cannot start anything now."""
    if backfill.version_id is None:
        return "the workflow is not deployed"
    if not backfill.enabled:
        return "the workflow is disabled"
    if not backfill.active:
        return f"the live version has no trigger '{backfill.trigger}'"
    return None


def _next_due_times(backfill: HeldBackfill, calendar: CalendarRule | None) -> list[tuple[datetime, bool]]:
    """At most `LOOKED_AT_ONCE` and one more; raises what parsing raises."""
    if backfill.next_at is None:
        return []
    return list(islice(due_times(backfill, calendar, backfill.next_at, backfill.to_at), LOOKED_AT_ONCE + 1))


async def _page(tx: Transaction, backfill: HeldBackfill, due: Sequence[tuple[datetime, bool]], room: int) -> _Page:
    """Of the next due times as many as there is room for."""
    looked_at = [due_at for due_at, counts in due[:LOOKED_AT_ONCE] if counts]
    covered = (
        await tx.backfills.covered(backfill.trigger_id, backfill.id, looked_at) if backfill.only_missing else set()
    )
    missing = [due_at for due_at in looked_at if due_at not in covered]
    next_at = due[LOOKED_AT_ONCE][0] if len(due) > LOOKED_AT_ONCE else None
    if len(missing) > room:
        next_at = missing[room]
    return _Page(missing[:room], sorted(covered), next_at)


def _waits(request: RunRequest) -> RunRequest:
    """A run of a backfill takes a slot that is free. It neither waits in line before the clock's runs nor ends one."""
    if request.concurrency is None:
        return request
    return replace(request, concurrency=replace(request.concurrency, on_conflict=OnConflict.SKIP))


_NOT_EVALUATED: tuple[type[Exception], ...] = (
    ApplicationError,
    DomainError,
    ValueError,
    OverflowError,
    KeyError,
    TypeError,
)


def _text(error: Exception) -> str:
    return str(error)[:_REASON_LENGTH]
