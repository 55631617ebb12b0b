"""Mutants: the product without one of its protections, made from outside as the seams are.

They prove the checker: each must be caught in a run that the product itself passes. A mutation rewrites SQL statements
where they are kept, or replaces methods; one that finds nothing to take away raises `Outdated`, so that a change of the
product breaks a test and does not, silently, leave a mutant that is none.
"""

import contextlib
import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from scheduler_application.ports.messaging import Delivery
from scheduler_infrastructure.persistence.claims import SqlClaims
from scheduler_infrastructure.persistence.engine import Statement
from scheduler_infrastructure.persistence.planning import seen_by_key
from scheduler_infrastructure.persistence.worker import SqlLeadership
from scheduler_worker.intake import Intake

_SQL = "scheduler_infrastructure.persistence."


class Protection(StrEnum):
    """What a mutant is without."""

    FENCE = "fence"
    """Claims, outcomes and a leader's writes do not ask whose they are."""

    OUTBOX = "outbox"
    """Nobody looks for what may be claimed and has no hint."""

    STATE_GUARD = "state_guard"
    """States are written whatever they were."""

    ACK_AFTER_CLAIM = "ack_after_claim"
    """Messages are acknowledged before the claim, and nobody looks for hints that were not claimed."""


class Outdated(Exception):
    """There is nothing to take away where a mutation looks for it."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Takes a text out of a statement; ``instead`` comes in its place. A text per dialect."""

    statement: str
    postgres: str
    sqlite: str
    instead: str = ""

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """The statement is without it while the block runs."""
        module_name, _, name = self.statement.partition(":")
        module = importlib.import_module(_SQL + module_name)
        statement: Statement = getattr(module, name)
        with _set(
            module,
            name,
            replace(
                statement,
                postgres=self._of(statement.postgres, self.postgres),
                sqlite=self._of(statement.sqlite, self.sqlite),
            ),
        ):
            yield

    def _of(self, sql: str, text: str) -> str:
        if sql.count(text) != 1:
            raise Outdated(f"{self.statement} does not have '{text}' once")
        return sql.replace(text, self.instead)


@dataclass(frozen=True, slots=True)
class Replacement:
    """A method in the place of another."""

    owner: type
    name: str
    make: Callable[[Any], Any]
    """The replacement of the original."""

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """The replacement is there while the block runs."""
        original = vars(self.owner).get(self.name)
        if original is None:
            raise Outdated(f"{self.owner.__name__} has no method {self.name} of its own")
        with _set(self.owner, self.name, self.make(original)):
            yield


class _AcknowledgedBefore:
    """A delivery that is settled already."""

    def __init__(self, delivery: Delivery) -> None:
        self.lane, self.hints = delivery.lane, delivery.hints

    async def ack(self) -> None:
        """Was done before."""

    async def give_back(self) -> None:
        """Cannot be done any more."""


def _acknowledging_first(work_off: Any) -> Any:
    async def acknowledged_first(intake: Intake, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            await delivery.ack()
        await work_off(intake, [_AcknowledgedBefore(delivery) for delivery in deliveries])

    return acknowledged_first


def _finding_nothing(_original: Any) -> Any:
    async def found(*_: Any) -> list[Any]:
        return []

    return found


def _allowing_everybody(_original: Any) -> Any:
    async def allowed(*_: Any) -> None:
        return None

    return allowed


_BLOCKED = seen_by_key("t.state = 'blocked'")
_UNDECIDED = seen_by_key("t.state in ('blocked', 'waiting', 'retrying')")

MUTATIONS: dict[Protection, tuple[Cut | Replacement, ...]] = {
    Protection.FENCE: (
        Cut("claims:_END_ATTEMPTS", " and t.claim_no = e.claim_no", " and task_runs.claim_no = e.claim_no"),
        Cut("claims:_CLAIM", " and t.claim_no = h.claim_no", " and claim_no = h.value ->> 1"),
        Replacement(SqlLeadership, "assert_epoch", _allowing_everybody),
    ),
    Protection.OUTBOX: (Replacement(SqlClaims, "unhinted", _finding_nothing),),
    Protection.STATE_GUARD: (
        Cut("claims:_END_ATTEMPTS", "t.state = 'running' and ", "task_runs.state = 'running' and "),
        Cut(
            "run_rows:_SAVE_RUNS",
            f" and {seen_by_key('r.finished_at is null')}",
            " and runs.finished_at is null",
        ),
        Cut("graph_rows:_COUNT_DOWN", f" and {_BLOCKED}", " and state = 'blocked'"),
        Cut(
            "graph_rows:_RESOLVE",
            f" and {_UNDECIDED}",
            " and state in ('blocked', 'waiting', 'retrying')",
        ),
    ),
    Protection.ACK_AFTER_CLAIM: (
        Replacement(Intake, "_work_off", _acknowledging_first),
        Replacement(SqlClaims, "unclaimed", _finding_nothing),
    ),
}


@contextlib.contextmanager
def without(*protections: Protection) -> Iterator[None]:
    """The product is without ``protections`` while the block runs. Raises `Outdated`."""
    with contextlib.ExitStack() as undo:
        for protection in protections:
            for mutation in MUTATIONS[protection]:
                undo.enter_context(mutation.applied())
        yield


@contextlib.contextmanager
def _set(owner: Any, name: str, value: Any) -> Iterator[None]:
    original = vars(owner)[name]
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, original)
