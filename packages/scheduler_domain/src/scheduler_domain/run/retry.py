"""What an outcome means for a task run: another try, or a final state. Pure: outcome + policy + now -> verdict."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from scheduler_domain.run.outcome import Cancelled, Failed, HandedBack, Outcome, Succeeded, TaskError, TimedOut
from scheduler_domain.run.states import TaskEvent, TaskState, advance_task
from scheduler_domain.workflow.definition import OnWorkerLoss, RetryPolicy

MAX_WORKER_LOSSES = 3
"""The loss that ends a task run as poison: whatever it does to its workers, it does it every time."""


class Verdict(NamedTuple):
    """Where a running task run goes. ``wake_at`` is set with `TaskState.RETRYING` only."""

    state: TaskState
    output: Any = None
    error: TaskError | None = None
    wake_at: datetime | None = None

    @property
    def repeats(self) -> bool:
        """Whether another attempt follows this one."""
        return self.state in (TaskState.RETRYING, TaskState.READY)


def judge(
    outcome: Outcome,
    policy: RetryPolicy,
    *,
    attempt: int,
    now: datetime,
    stopping: bool,
    uniform: Callable[[float, float], float],
    state: TaskState = TaskState.RUNNING,
) -> Verdict:
    """The verdict on attempt number ``attempt`` of a task run in ``state``; a ``stopping`` run gets no further
    attempt."""

    def to(event: TaskEvent, **facts: Any) -> Verdict:
        return Verdict(advance_task(state, event), **facts)

    match outcome:
        case Succeeded(output):
            return to(TaskEvent.SUCCEED, output=output)
        case Cancelled():
            return to(TaskEvent.CANCEL)
        case HandedBack():
            return to(TaskEvent.CANCEL) if stopping else to(TaskEvent.HAND_BACK)
        case Failed() | TimedOut() if stopping:
            return to(TaskEvent.CANCEL)
        case Failed(error, retryable):
            again = attempt < policy.attempts and _retries(policy, error, retryable=retryable)
            event = TaskEvent.FAIL
        case TimedOut(seconds):
            error = TaskError("timed_out", f"ended after its timeout of {seconds:g} s")
            again = attempt < policy.attempts and policy.on_timeout
            event = TaskEvent.TIME_OUT
    if again:
        pause = timedelta(seconds=pause_before_next(policy, attempt, uniform))
        return to(TaskEvent.RETRY, error=error, wake_at=now + pause)
    return to(event, error=error)


def judge_loss(on_worker_loss: OnWorkerLoss, losses: int, *, stopping: bool) -> Verdict:
    """The verdict on a running task run whose worker is gone for the ``losses``-th time. Losses use up no attempts."""
    if stopping:
        return Verdict(advance_task(TaskState.RUNNING, TaskEvent.CANCEL))
    if losses >= MAX_WORKER_LOSSES:
        error = TaskError("poison", f"its worker was lost {losses} times; not started again")
    elif on_worker_loss is OnWorkerLoss.FAIL:
        error = TaskError("worker_lost", "its worker was lost and on_worker_loss is fail")
    else:
        return Verdict(advance_task(TaskState.RUNNING, TaskEvent.LOSE), error=TaskError("worker_lost", "worker lost"))
    return Verdict(advance_task(TaskState.RUNNING, TaskEvent.FAIL), error=error)


def pause_before_next(policy: RetryPolicy, attempt: int, uniform: Callable[[float, float], float]) -> float:
    """Seconds between attempt number ``attempt`` and the next."""
    factor = 2.0 ** min(attempt - 1, 60) if policy.backoff == "exponential" else 1.0
    pause = min(policy.delay * factor, policy.max_delay)
    return uniform(pause / 2, pause) if policy.jitter else pause


def _retries(policy: RetryPolicy, error: TaskError, *, retryable: bool) -> bool:
    """What the author lists is retried, whatever the executor thinks of it."""
    if policy.on_exit_codes is None and policy.on_http_statuses is None:
        return retryable
    return error.exit_code in (policy.on_exit_codes or ()) or error.http_status in (policy.on_http_statuses or ())
