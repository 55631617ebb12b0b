"""What a version of a workflow holds, as immutable values.

`application.workflow.document` makes them from YAML or JSON and checks everything; code that holds a
`WorkflowDefinition` may rely on it being valid. Durations are seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

from scheduler_domain.schedule.fire_policy import FirePolicy
from scheduler_domain.workflow.expressions import Expression, Template
from scheduler_domain.workflow.parameters import InputDefinition

DEFAULT_QUEUE = "default"
MAX_TASKS = 10_000


class Priority(StrEnum):
    """The order in which waiting task runs are taken; `rank` 0 goes first."""

    CRITICAL = "critical"
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"

    @property
    def rank(self) -> int:
        return _RANKS[self]


_RANKS = {priority: rank for rank, priority in enumerate(Priority)}


class RunIf(StrEnum):
    """What the needs of a task must have come to before it runs; judged once, when all of them are final."""

    ALL_SUCCEEDED = "all_succeeded"
    ANY_FAILED = "any_failed"
    ALL_DONE = "all_done"
    ANY_SUCCEEDED = "any_succeeded"


class OnWorkerLoss(StrEnum):
    RETRY = "retry"
    FAIL = "fail"


class OnConflict(StrEnum):
    """What happens to a new run when its concurrency key has no free slot."""

    QUEUE = "queue"
    SKIP = "skip"
    CANCEL_RUNNING = "cancel_running"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and when a failed attempt is tried again.

    ``attempts`` counts the first try too (1: never again). The pause before attempt n+1 is ``delay`` for
    ``backoff='constant'`` and ``delay * 2**(n-1)`` for ``'exponential'``, at most ``max_delay`` seconds; with
    ``jitter`` it is drawn from the upper half of that. ``on_exit_codes`` and ``on_http_statuses`` are ``None`` when
    every failure is retried; otherwise both are sets, either may be empty, and only failures with such a code or
    status are retried. Timeouts are retried only when ``on_timeout`` says so.
    """

    attempts: int = 1
    backoff: str = "exponential"
    delay: float = 1.0
    max_delay: float = 300.0
    jitter: bool = True
    on_exit_codes: frozenset[int] | None = None
    on_http_statuses: frozenset[int] | None = None
    on_timeout: bool = True


@dataclass(frozen=True, slots=True)
class Concurrency:
    """At most ``limit`` live runs per value of ``key`` (a constant where none is given)."""

    limit: int
    key: Template | None = None
    on_conflict: OnConflict = OnConflict.QUEUE


@dataclass(frozen=True, slots=True)
class TaskDefinition:
    """One node of the graph.

    ``settings`` renders to the executor's own part of the definition. A key marked ``?`` is absent where the author did
    not write it; what has no expression is checked already, what an expression gives is not:

    - ``shell``: ``{"script": text}``, never with expressions
    - ``http``: ``{"method": "GET"…, "url": text, "headers"?: {name: text}, "query"?: {name: text, number, boolean},
      "body"?: any JSON, "expect"?: {"status": [integers]}}``
    - ``database``: ``{"connection": name, "sql": text, "parameters"?: {name: any JSON}}``, expressions only in the last
    - ``python``: ``{"call": "package.module:function", "args"?: {name: any JSON}}``
    - ``workflow``: ``{"name": name, "inputs"?: {name: any JSON}}``
    - ``wait``: ``{"for": seconds as float}`` or ``{"until": ISO 8601 instant with offset}``

    ``env`` is empty except for ``shell`` and ``python``. ``timeout`` is that of one attempt; a ``wait`` has none, nor
    retries. ``queue`` and ``on_worker_loss`` mean something only where `needs_worker` is true.
    """

    key: str
    executor: str
    settings: Template
    needs: tuple[str, ...] = ()
    when: Expression | None = None
    run_if: RunIf = RunIf.ALL_SUCCEEDED
    for_each: Expression | None = None
    max_parallel: int | None = None
    env: Mapping[str, Template] = field(default_factory=dict)
    retry: RetryPolicy = RetryPolicy()
    timeout: float | None = None
    queue: str = DEFAULT_QUEUE
    priority: Priority = Priority.NORMAL
    on_worker_loss: OnWorkerLoss = OnWorkerLoss.RETRY

    @property
    def needs_worker(self) -> bool:
        """Whether a worker executes it; the engine itself carries ``workflow`` and ``wait``."""
        return self.executor not in ENGINE_EXECUTORS


ENGINE_EXECUTORS = frozenset({"workflow", "wait"})


class TriggerKind(StrEnum):
    SCHEDULE = "schedule"
    EVERY = "every"
    AT = "at"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True)
class TriggerDefinition:
    """One trigger; ``name`` is unique in its workflow and is the trigger's identity across deploys.

    ``expression`` is the cron text, the interval in seconds as text, or the instant in ISO 8601; empty for
    ``manual``. ``inputs`` are templates over ``run``, ``vars``.
    """

    name: str
    kind: TriggerKind
    expression: str = ""
    timezone: str = "UTC"
    policy: FirePolicy = field(default_factory=FirePolicy)
    inputs: Mapping[str, Template] = field(default_factory=dict)
    confirm: bool = False


class ExpectedState(StrEnum):
    """What a run must have come to by a deadline: it began to run, it ended in whatever way, or it succeeded."""

    STARTED = "started"
    FINISHED = "finished"
    SUCCEEDED = "succeeded"


@dataclass(frozen=True, slots=True)
class ExpectationDefinition:
    """That a run of the workflow has reached ``state`` by each deadline; ``name`` is unique in its workflow and is the
    expectation's identity across deploys.

    ``expression`` is the cron text of the deadlines. ``within`` is how many seconds before the deadline count; ``None``
    counts from the deadline before (`scheduler_domain.schedule.deadlines`).
    """

    name: str
    expression: str
    timezone: str = "UTC"
    state: ExpectedState = ExpectedState.SUCCEEDED
    within: int | None = None


@dataclass(frozen=True)
class WorkflowDefinition:
    """A whole, valid definition. Tasks keep the order in which the author wrote them."""

    name: str
    tasks: Mapping[str, TaskDefinition]
    description: str = ""
    labels: tuple[str, ...] = ()
    inputs: Mapping[str, InputDefinition] = field(default_factory=dict)
    triggers: tuple[TriggerDefinition, ...] = ()
    concurrency: Concurrency | None = None
    timeout: float | None = None
    priority: Priority = Priority.NORMAL
    expect: tuple[ExpectationDefinition, ...] = ()

    @cached_property
    def successors(self) -> Mapping[str, tuple[str, ...]]:
        """For each task the tasks that need it."""
        found: dict[str, list[str]] = {key: [] for key in self.tasks}
        for task in self.tasks.values():
            for need in task.needs:
                found[need].append(task.key)
        return {key: tuple(tasks) for key, tasks in found.items()}


Json = Any
"""A JSON value: ``None``, bool, int, float, str, list or dict of these."""
