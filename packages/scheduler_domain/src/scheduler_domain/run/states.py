"""The two state machines. These tables are the only place that knows which move is allowed.

Every write of a state names the event that causes it; `advance` (for one row in hand) and `sources` (for the
guard of a set-based statement) read the same tables, so the database cannot make a move that is not here.
"""

from collections.abc import Mapping
from enum import StrEnum

from scheduler_domain.errors import DomainError


class RunState(StrEnum):
    """A run's state; the last four are final."""

    PENDING = "pending"
    """Accepted, waiting for a slot of its workflow's concurrency."""
    RUNNING = "running"
    CANCELLING = "cancelling"
    """Nothing new starts; what runs is being ended."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"


class RunEvent(StrEnum):
    ADMIT = "admit"
    CANCEL = "cancel"
    SUCCEED = "succeed"
    FAIL = "fail"
    FINISH_CANCEL = "finish_cancel"
    FINISH_TIMEOUT = "finish_timeout"


class TaskState(StrEnum):
    """A task run's state; the last five are final."""

    BLOCKED = "blocked"
    """Waits for its needs, or for its turn among the items of a ``for_each``."""
    READY = "ready"
    """May be claimed; nobody confirmed yet that a hint for it exists."""
    QUEUED = "queued"
    """May be claimed; a confirmed hint for it exists."""
    RUNNING = "running"
    """Owned by one worker under the fence ``claim_no``."""
    WAITING = "waiting"
    """Holds no worker: a timer, a child run or the items of a ``for_each`` decide when it goes on."""
    RETRYING = "retrying"
    """Failed and becomes ready again at ``wake_at``."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"


class TaskEvent(StrEnum):
    UNBLOCK = "unblock"
    SKIP = "skip"
    HINT = "hint"
    CLAIM = "claim"
    HAND_BACK = "hand_back"
    """The worker returns what it did not finish; costs no attempt."""
    LOSE = "lose"
    """The worker is gone; the task run starts again under a new fence."""
    WAIT = "wait"
    RETRY = "retry"
    WAKE = "wake"
    SUCCEED = "succeed"
    FAIL = "fail"
    TIME_OUT = "time_out"
    CANCEL = "cancel"


RUN_TRANSITIONS: Mapping[RunState, Mapping[RunEvent, RunState]] = {
    RunState.PENDING: {
        RunEvent.ADMIT: RunState.RUNNING,
        RunEvent.CANCEL: RunState.CANCELLING,
    },
    RunState.RUNNING: {
        RunEvent.CANCEL: RunState.CANCELLING,
        RunEvent.SUCCEED: RunState.SUCCEEDED,
        RunEvent.FAIL: RunState.FAILED,
        RunEvent.FINISH_CANCEL: RunState.CANCELLED,
    },
    RunState.CANCELLING: {
        RunEvent.FAIL: RunState.FAILED,
        RunEvent.FINISH_CANCEL: RunState.CANCELLED,
        RunEvent.FINISH_TIMEOUT: RunState.TIMED_OUT,
    },
    RunState.SUCCEEDED: {},
    RunState.FAILED: {},
    RunState.CANCELLED: {},
    RunState.TIMED_OUT: {},
}

TASK_TRANSITIONS: Mapping[TaskState, Mapping[TaskEvent, TaskState]] = {
    TaskState.BLOCKED: {
        TaskEvent.UNBLOCK: TaskState.READY,
        TaskEvent.SKIP: TaskState.SKIPPED,
        TaskEvent.WAIT: TaskState.WAITING,
        TaskEvent.SUCCEED: TaskState.SUCCEEDED,
        TaskEvent.FAIL: TaskState.FAILED,
        TaskEvent.CANCEL: TaskState.CANCELLED,
    },
    TaskState.READY: {
        TaskEvent.HINT: TaskState.QUEUED,
        TaskEvent.CLAIM: TaskState.RUNNING,
        TaskEvent.CANCEL: TaskState.CANCELLED,
    },
    TaskState.QUEUED: {
        TaskEvent.CLAIM: TaskState.RUNNING,
        TaskEvent.CANCEL: TaskState.CANCELLED,
    },
    TaskState.RUNNING: {
        TaskEvent.HAND_BACK: TaskState.READY,
        TaskEvent.LOSE: TaskState.READY,
        TaskEvent.RETRY: TaskState.RETRYING,
        TaskEvent.SUCCEED: TaskState.SUCCEEDED,
        TaskEvent.FAIL: TaskState.FAILED,
        TaskEvent.TIME_OUT: TaskState.TIMED_OUT,
        TaskEvent.CANCEL: TaskState.CANCELLED,
    },
    TaskState.WAITING: {
        TaskEvent.RETRY: TaskState.RETRYING,
        TaskEvent.SUCCEED: TaskState.SUCCEEDED,
        TaskEvent.FAIL: TaskState.FAILED,
        TaskEvent.TIME_OUT: TaskState.TIMED_OUT,
        TaskEvent.CANCEL: TaskState.CANCELLED,
    },
    TaskState.RETRYING: {
        TaskEvent.WAKE: TaskState.READY,
        TaskEvent.WAIT: TaskState.WAITING,
        TaskEvent.FAIL: TaskState.FAILED,
        TaskEvent.CANCEL: TaskState.CANCELLED,
    },
    TaskState.SUCCEEDED: {},
    TaskState.FAILED: {},
    TaskState.SKIPPED: {},
    TaskState.CANCELLED: {},
    TaskState.TIMED_OUT: {},
}

FINAL_RUN_STATES = frozenset(state for state, moves in RUN_TRANSITIONS.items() if not moves)
FINAL_TASK_STATES = frozenset(state for state, moves in TASK_TRANSITIONS.items() if not moves)
LIVE_RUN_STATES = frozenset(RunState) - FINAL_RUN_STATES
LIVE_TASK_STATES = frozenset(TaskState) - FINAL_TASK_STATES


class IllegalTransition(DomainError):
    """The table has no such move."""

    def __init__(self, state: StrEnum, event: StrEnum) -> None:
        self.state = state
        self.event = event
        super().__init__(f"a {type(state).__name__.removesuffix('State').lower()} run cannot {event} from {state}")


def advance_run(state: RunState, event: RunEvent) -> RunState:
    """Where ``event`` takes a run that is in ``state``; raises `IllegalTransition`."""
    try:
        return RUN_TRANSITIONS[state][event]
    except KeyError:
        raise IllegalTransition(state, event) from None


def advance_task(state: TaskState, event: TaskEvent) -> TaskState:
    """Where ``event`` takes a task run that is in ``state``; raises `IllegalTransition`."""
    try:
        return TASK_TRANSITIONS[state][event]
    except KeyError:
        raise IllegalTransition(state, event) from None


def run_sources(event: RunEvent) -> tuple[RunState, ...]:
    """The states from which ``event`` is allowed: the guard of a set-based write."""
    return tuple(state for state, moves in RUN_TRANSITIONS.items() if event in moves)


def task_sources(event: TaskEvent) -> tuple[TaskState, ...]:
    """The states from which ``event`` is allowed: the guard of a set-based write."""
    return tuple(state for state, moves in TASK_TRANSITIONS.items() if event in moves)
