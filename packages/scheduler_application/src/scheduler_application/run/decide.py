"""What becomes of a task run whose turn has come: its control expressions are evaluated here, purely, before anything
is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from scheduler_domain.errors import ExpressionError
from scheduler_domain.run.outcome import TaskError
from scheduler_domain.run.planning import MAX_ITEMS, Needs, may_run
from scheduler_domain.workflow.definition import TaskDefinition

MAX_WAIT = timedelta(days=366)


@dataclass(frozen=True, slots=True)
class MakeReady:
    """A worker executes it."""


@dataclass(frozen=True, slots=True)
class Skip:
    """``run_if`` or ``when`` said no."""

    rule: str


@dataclass(frozen=True, slots=True)
class FanOut:
    """One task run per item."""

    items: Sequence[Any]


@dataclass(frozen=True, slots=True)
class WaitUntil:
    """A timer decides; no worker is held."""

    moment: datetime


@dataclass(frozen=True, slots=True)
class StartChild:
    """A run of another workflow decides."""

    workflow: str
    inputs: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Refuse:
    """It cannot start; the task run fails."""

    error: TaskError


Decision = MakeReady | Skip | FanOut | WaitUntil | StartChild | Refuse


def decide(
    task: TaskDefinition,
    needs: Needs,
    scope: Mapping[str, Any],
    now: datetime,
    *,
    again: bool,
) -> Decision:
    """``again`` is true for another try: then its conditions have been judged before, and its items made."""
    try:
        if not again:
            if not may_run(task, needs):
                return Skip(f"run_if:{task.run_if}")
            if task.when is not None and not _truth(task.when.evaluate(scope)):
                return Skip("when")
            if task.for_each is not None:
                return _fan_out(task.for_each.evaluate(scope))
        return start(task, scope, now)
    except ExpressionError as error:
        return Refuse(TaskError("expression_failed", str(error)))


def start(task: TaskDefinition, scope: Mapping[str, Any], now: datetime) -> Decision:
    """How a task (or one item of it) starts; raises `ExpressionError`."""
    if task.executor == "wait":
        return _wait(task.settings.render(scope), now)
    if task.executor == "workflow":
        settings = task.settings.render(scope)
        return StartChild(settings["name"], settings.get("inputs") or {})
    return MakeReady()


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ExpressionError(f"'when' must come to true or false, not to {_kind(value)}")
    return value


def _fan_out(items: Any) -> Decision:
    if not isinstance(items, list):
        raise ExpressionError(f"'for_each' must come to a list, not to {_kind(items)}")
    if len(items) > MAX_ITEMS:
        return Refuse(
            TaskError(
                "fanout_too_large",
                f"for_each has {len(items)} items; at most {MAX_ITEMS} are accepted",
            )
        )
    return FanOut(items)


def _wait(settings: Mapping[str, Any], now: datetime) -> Decision:
    if "for" in settings:
        return WaitUntil(now + timedelta(seconds=settings["for"]))
    text = settings["until"]
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise ExpressionError("'until' must come to an instant such as 2027-01-01T00:00:00+01:00") from None
    if moment.tzinfo is None:
        raise ExpressionError("'until' must carry an offset, such as 2027-01-01T00:00:00+01:00")
    if moment > now + MAX_WAIT:
        raise ExpressionError("'until' lies more than 366 days ahead")
    return WaitUntil(moment.astimezone(UTC))


def _kind(value: Any) -> str:
    names = {
        bool: "a boolean",
        int: "a number",
        float: "a number",
        str: "a string",
        list: "a list",
        dict: "an object",
    }
    return "null" if value is None else names.get(type(value), "something else")
