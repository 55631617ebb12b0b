"""Campaigns for the lead, and does the leader's duties while it has it."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import structlog

from scheduler_application.errors import ApplicationError, LeadershipLost, Unavailable
from scheduler_application.leading import Leadership
from scheduler_application.pausing import Backoff, first_of, set_within
from scheduler_application.ports.persistence import Transaction
from scheduler_dispatcher.loops import LONGEST_PAUSE_SECONDS, Dispatcher, Duty, Step, duties

STEP_SECONDS = 15.0
"""A step whose next transaction does not begin within this is stuck: the store's own deadlines are shorter."""

STANDBY_GAP_SECONDS = 0.25
"""The shortest time between two tries of a standby, however often it is woken."""

HAND_OVER_SECONDS = 0.5
WATCH_SECONDS = 10.0

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class DutyOverrun(Exception):
    """A step is stuck; only a new process helps."""


@dataclass(frozen=True, slots=True)
class _WatchedTerm(Leadership):
    """A term that says when it is used: every transaction of a step proves it, so each proof is progress."""

    on_check: Callable[[], None] = field(compare=False)

    async def check(self, tx: Transaction) -> None:
        self.on_check()
        await Leadership.check(self, tx)


class Supervisor:
    """One dispatcher process; `run` once."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._clock = dispatcher.clock
        self._sleep = dispatcher.sleep
        self._leading = asyncio.Event()
        self._stopping = False
        self._vacant = asyncio.Event()
        self._due_earlier: list[asyncio.Event] = []
        self._steps: set[asyncio.Task[int]] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Returns after ``stop`` when the lead is given up. Raises `DutyOverrun` or what broke a loop."""
        loops: list[Coroutine[Any, Any, None]] = [self._campaign(), self._listen(), self._watch()]
        loops += [self._perform(duty) for duty in duties(self._dispatcher)]
        tasks = [asyncio.create_task(loop) for loop in loops]
        try:
            await first_of(stop.wait(), asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED))
            await self._hand_over()
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.gather(*self._steps, return_exceptions=True)
            await self._resign()
        for result in ended:
            if isinstance(result, Exception):
                raise result

    # --- The lead -----------------------------------------------------------------------------------------------

    async def _campaign(self) -> None:
        """Takes and keeps the lead; a standby tries again at once when it is told that something changed."""
        dispatcher, renew = self._dispatcher, self._dispatcher.limits.renew
        backoff = Backoff(dispatcher.randomness, first=0.25, longest=renew)
        while True:
            started = self._clock.monotonic()
            dispatcher.health.renewing()
            try:
                self._note(await dispatcher.campaign.renew())
                backoff.reset()
                pause = started + renew - self._clock.monotonic()
            except Unavailable as error:
                _log.warning("the lead cannot be renewed just now", reason=str(error))
                pause = backoff.next()
            if self._leading.is_set():
                await self._sleep(max(pause, 0.0))
            elif await set_within(self._vacant, pause, self._sleep):
                await self._sleep(max(started + STANDBY_GAP_SECONDS - self._clock.monotonic(), 0.0))
            self._vacant.clear()

    def _note(self, term: Leadership | None) -> None:
        leads = term is not None
        if leads != self._leading.is_set():
            _log.info(
                "this dispatcher leads" if leads else "another dispatcher leads", epoch=term.epoch if term else None
            )
        if leads:
            self._leading.set()
        else:
            self._leading.clear()
        self._dispatcher.health.answered(leading=leads)

    async def _listen(self) -> None:
        backoff = Backoff(self._dispatcher.randomness)
        while True:
            try:
                async for _ in self._dispatcher.signals.dispatcher_wakes():
                    backoff.reset()
                    for due_earlier in self._due_earlier:
                        due_earlier.set()
                    self._vacant.set()
            except ApplicationError as error:
                _log.warning("no wake-ups are heard just now", reason=str(error))
            await self._sleep(backoff.next())

    async def _watch(self) -> None:
        while True:
            await self._sleep(WATCH_SECONDS)
            try:
                self._dispatcher.health.watched(await self._dispatcher.watchdog.problems())
            except Exception:  # noqa: BLE001 - who watches must not stop what works
                _log.exception("the watchdog failed")

    # --- The leader's duties --------------------------------------------------------------------------------------

    async def _perform(self, duty: Duty) -> None:
        due_earlier = asyncio.Event()
        if duty.woken:
            self._due_earlier.append(due_earlier)
        while True:
            term = await self._term(duty)
            due_earlier.clear()
            done: int | None = 0
            for step in duty.steps:
                found = await self._do(step, term)
                done = None if done is None or found is None else done + found
            await self._pause(duty, done, due_earlier)

    async def _term(self, duty: Duty) -> Leadership:
        """The present term, when there is one for ``duty``."""
        while True:
            await self._leading.wait()
            term = self._dispatcher.campaign.current
            if term is None or self._stopping:
                self._leading.clear()
                continue
            early = term.settled_at - self._clock.monotonic() if duty.when_settled else 0.0
            if early <= 0:
                return term
            await self._sleep(early)

    async def _do(self, step: Step, term: Leadership) -> int | None:
        """How much there was to do; ``None`` where it failed. Raises `DutyOverrun`."""
        self._dispatcher.health.expects(step.name, step.patience)
        try:
            found = await self._within_deadline(step, term)
        except LeadershipLost as error:
            _log.warning("the lead is lost", step=step.name, epoch=term.epoch)
            self._dispatcher.campaign.lost(error)
            self._leading.clear()
        except Unavailable as error:
            _log.warning("a duty waits for the store", step=step.name, reason=str(error))
        except DutyOverrun:
            raise
        except Exception:  # noqa: BLE001 - one failing duty must not stop the others
            _log.exception("a duty failed", step=step.name)
        else:
            self._dispatcher.health.succeeded(step.name)
            return found
        return None

    async def _within_deadline(self, step: Step, term: Leadership) -> int:
        progress = [self._clock.monotonic()]

        def note() -> None:
            progress.append(self._clock.monotonic())

        watched = _WatchedTerm(term.holder, term.epoch, term.trusted_until, term.settled_at, note)
        task: asyncio.Task[int] = asyncio.ensure_future(step.work(watched))
        self._steps.add(task)
        task.add_done_callback(self._steps.discard)
        try:
            while not task.done():
                left = progress[-1] + STEP_SECONDS - self._clock.monotonic()
                if left <= 0:
                    raise DutyOverrun(f"'{step.name}' has been stuck for {STEP_SECONDS:g} s")
                await first_of(asyncio.wait({task}), self._sleep(left))
            return task.result()
        finally:
            task.cancel()

    async def _pause(self, duty: Duty, done: int | None, due_earlier: asyncio.Event) -> None:
        """Until the next pass; cut short as often as something may be due earlier."""
        woken = True
        while woken and self._leading.is_set():
            seconds = await self._seconds(duty, done)
            if not duty.woken:
                return await self._sleep(seconds)
            woken = await set_within(due_earlier, seconds, self._sleep)
            due_earlier.clear()
            done = 0
        return None

    @staticmethod
    async def _seconds(duty: Duty, done: int | None) -> float:
        try:
            return await duty.pause(done)
        except Unavailable as error:
            _log.warning("the store does not say what is due", reason=str(error))
        except Exception:  # noqa: BLE001 - as in `_do`
            _log.exception("a pause could not be computed", steps=[step.name for step in duty.steps])
        return LONGEST_PAUSE_SECONDS

    # --- The end ------------------------------------------------------------------------------------------------

    async def _hand_over(self) -> None:
        """Begins nothing more. What is under way may end; what takes longer is rolled back, for the next leader."""
        self._stopping = True
        self._leading.clear()
        if self._steps:
            await first_of(asyncio.wait(self._steps), self._sleep(HAND_OVER_SECONDS))

    async def _resign(self) -> None:
        dispatcher = self._dispatcher
        if dispatcher.campaign.current is None:
            return
        try:
            await dispatcher.campaign.resign()
        except ApplicationError as error:
            _log.warning("the lead could not be given up; it ends by itself", reason=str(error))
        await dispatcher.signals.wake_dispatchers()
