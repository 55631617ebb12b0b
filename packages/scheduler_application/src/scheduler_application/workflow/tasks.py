"""One task of a document → `TaskDefinition`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scheduler_application.workflow import fields
from scheduler_application.workflow.executors import EXECUTORS
from scheduler_application.workflow.fields import Loc, Reading
from scheduler_application.workflow.retries import PROCESS_EXECUTORS, check_retry_on, read_retry
from scheduler_domain.naming import NAME, NAME_RULE, nearest, shown
from scheduler_domain.workflow.definition import (
    DEFAULT_QUEUE,
    ENGINE_EXECUTORS,
    OnWorkerLoss,
    Priority,
    RetryPolicy,
    RunIf,
    TaskDefinition,
)
from scheduler_domain.workflow.expressions import Template

MAX_TIMEOUT = 7 * 86_400
MAX_PARALLEL = 10_000
MAX_ENV = 200
MAX_ENV_BYTES = 100_000

ALWAYS = ("needs", "when", "run_if", "for_each", "max_parallel")
"""Keys of every task."""
ON_WORKER = ("env", "retry", "timeout", "on_worker_loss", "queue", "priority")
LATER = ("approval",)

CONTROL_ROOTS = frozenset({"inputs", "tasks", "run", "vars"})
ITEM_ROOTS = frozenset({"item", "index"})
WORKER_ROOTS = CONTROL_ROOTS | {"secrets"}

ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
ENV_RULE = "1 to 255 of a-z, A-Z, 0-9 and '_', beginning with a letter or '_'"
RESERVED_ENV = frozenset(
    {
        *("PATH", "ENV", "BASH_ENV", "SHELLOPTS", "BASHOPTS", "IFS", "PS4"),
        *("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONINSPECT"),
        *("NODE_OPTIONS", "PERL5LIB", "PERL5OPT", "RUBYLIB", "RUBYOPT", "JAVA_TOOL_OPTIONS"),
        *("RUN_ID", "TRACEPARENT", "TRACESTATE"),
    }
)
"""They decide how a process starts or what it runs, or the worker sets them itself."""
RESERVED_ENV_PREFIXES = ("ORRERY_", "LD_", "DYLD_", "BASH_FUNC_")


ONCE = RetryPolicy()


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a task that a worker executes has where it does not say otherwise."""

    queue: str = DEFAULT_QUEUE
    priority: Priority = Priority.NORMAL
    timeout: float | None = None
    retry: RetryPolicy = ONCE


def read_defaults(reading: Reading, value: Any, loc: Loc) -> Defaults:
    written = fields.mapping(reading, value, loc, ("queue", "priority", "timeout", "retry"))
    return _common(reading, written, loc, Defaults())


def _common(reading: Reading, written: Mapping[str, Any], loc: Loc, otherwise: Defaults) -> Defaults:
    """The four settings that stand both in ``defaults`` and in a task."""
    queue, priority, timeout, retry = otherwise.queue, otherwise.priority, otherwise.timeout, otherwise.retry
    if "queue" in written:
        queue = fields.name(reading, written["queue"], (*loc, "queue"), NAME, NAME_RULE)
    if "priority" in written:
        priority = fields.member(reading, written["priority"], (*loc, "priority"), Priority)
    if "timeout" in written:
        timeout = fields.duration(reading, written["timeout"], (*loc, "timeout"), 1, MAX_TIMEOUT)
    if "retry" in written:
        retry = read_retry(reading, written["retry"], (*loc, "retry"))
    return Defaults(queue, priority, timeout, retry)


def read_task(reading: Reading, key: str, value: Any, defaults: Defaults) -> TaskDefinition | None:
    """``None`` where the task has no executor, which is noted."""
    loc: Loc = ("tasks", key)
    executor = _executor(reading, value, loc)
    if executor is None:
        return None
    written = _members(reading, value, executor, loc)
    settings = EXECUTORS[executor](reading, written[executor], (*loc, executor))
    check_retry_on(reading, written, executor, loc)
    fan_out = "for_each" in written
    on_worker = executor not in ENGINE_EXECUTORS
    roots = (WORKER_ROOTS if on_worker else CONTROL_ROOTS) | (ITEM_ROOTS if fan_out else frozenset())
    common = _common(reading, written, loc, defaults if on_worker else Defaults(priority=defaults.priority))
    return TaskDefinition(
        key=key,
        executor=executor,
        settings=fields.template(reading, settings, (*loc, executor), roots, key),
        needs=_needs(reading, written, loc),
        when=_control(reading, written, "when", loc),
        run_if=_run_if(reading, written, loc),
        for_each=_control(reading, written, "for_each", loc),
        max_parallel=_max_parallel(reading, written, loc),
        env=_env(reading, written["env"], loc, roots) if "env" in written else {},
        retry=common.retry,
        timeout=common.timeout,
        queue=common.queue,
        priority=common.priority,
        on_worker_loss=_on_worker_loss(reading, written, loc),
    )


def _members(reading: Reading, value: Any, executor: str, loc: Loc) -> Mapping[str, Any]:
    accepted = accepted_keys(executor)
    idle = [key for key in value if key in ON_WORKER and key not in accepted]
    for key in idle:
        message = f"'{key}' has no effect on a task of kind {executor} (accepted: {', '.join(accepted)})"
        reading.note((*loc, key), "without_effect", message)
    wanted = {key: member for key, member in value.items() if key not in idle} if idle else value
    return fields.mapping(reading, wanted, loc, (executor, *accepted), later=LATER)


def accepted_keys(executor: str) -> tuple[str, ...]:
    """The keys that have an effect on a task of this kind."""
    if executor == "wait":
        return ALWAYS
    if executor == "workflow":
        return (*ALWAYS, "retry", "timeout")
    return (*ALWAYS, *(key for key in ON_WORKER if key != "env" or executor in PROCESS_EXECUTORS))


def _executor(reading: Reading, value: Any, loc: Loc) -> str | None:
    listed = ", ".join(EXECUTORS)
    if not isinstance(value, dict):
        fields.expect(reading, loc, "object", value, f"with one of {listed}")
        return None
    found: list[str] = [key for key in value if key in EXECUTORS]
    if len(found) == 1:
        return found[0]
    if found:
        message = f"a task has exactly one executor, this one has {' and '.join(found)}"
        reading.note(loc, "exactly_one_of", message)
        return None
    unknown = [key for key in value if key not in (*ALWAYS, *ON_WORKER)]
    for key in unknown:
        if key in LATER:
            reading.note((*loc, key), "not_available", f"'{key}' is not available yet (accepted: {listed})")
        else:
            message = f"unknown executor '{shown(key)}'{nearest(key, EXECUTORS)} (accepted: {listed})"
            reading.note((*loc, key), "unknown_executor", message)
    if not unknown:
        reading.note(loc, "missing_key", f"the task has no executor (accepted: {listed})")
    return None


def _needs(reading: Reading, written: Mapping[str, Any], loc: Loc) -> tuple[str, ...]:
    if "needs" not in written:
        return ()
    loc = (*loc, "needs")
    listed = fields.sequence(reading, written["needs"], loc, "of task names", 10_000)
    for place, need in enumerate(listed):
        if not isinstance(need, str):
            fields.expect(reading, (*loc, place), "string", need, "(a task's name)")
    return tuple(need for need in listed if isinstance(need, str))


def _run_if(reading: Reading, written: Mapping[str, Any], loc: Loc) -> RunIf:
    if "run_if" not in written:
        return RunIf.ALL_SUCCEEDED
    rule = fields.member(reading, written["run_if"], (*loc, "run_if"), RunIf)
    if rule in (RunIf.ANY_FAILED, RunIf.ANY_SUCCEEDED) and not written.get("needs"):
        reading.note((*loc, "run_if"), "needs_missing", f"'{rule}' can never be true without 'needs'")
    return rule


def _control(reading: Reading, written: Mapping[str, Any], key: str, loc: Loc) -> Any:
    if key not in written:
        return None
    return fields.expression(reading, written[key], (*loc, key), CONTROL_ROOTS, str(loc[1]))


def _max_parallel(reading: Reading, written: Mapping[str, Any], loc: Loc) -> int | None:
    if "max_parallel" not in written:
        return None
    if "for_each" not in written:
        reading.note((*loc, "max_parallel"), "for_each_missing", "'max_parallel' has an effect only with 'for_each'")
    return fields.integer(reading, written["max_parallel"], (*loc, "max_parallel"), 1, MAX_PARALLEL)


def _on_worker_loss(reading: Reading, written: Mapping[str, Any], loc: Loc) -> OnWorkerLoss:
    if "on_worker_loss" not in written:
        return OnWorkerLoss.RETRY
    return fields.member(reading, written["on_worker_loss"], (*loc, "on_worker_loss"), OnWorkerLoss)


def _env(reading: Reading, value: Any, loc: Loc, roots: frozenset[str]) -> dict[str, Template]:
    loc = (*loc, "env")
    variables = fields.named(reading, value, loc, ENV_NAME, ENV_RULE, MAX_ENV, "invalid_env")
    size = 0
    for name, content in variables.items():
        if name in RESERVED_ENV or name.startswith(RESERVED_ENV_PREFIXES):
            reading.note((*loc, name), "invalid_env", f"the variable '{name}' is reserved ({_reserved_shown()})")
        size += len(name) + len(fields.text(reading, content, (*loc, name), empty=True))
    if size > MAX_ENV_BYTES:
        reading.note(loc, "invalid_env", f"'env' has {size} characters, at most {MAX_ENV_BYTES} are accepted")
    return {
        name: fields.template(reading, content, (*loc, name), roots, str(loc[1])) for name, content in variables.items()
    }


def _reserved_shown() -> str:
    return f"reserved: {', '.join(sorted(RESERVED_ENV))}, and what begins with {', '.join(RESERVED_ENV_PREFIXES)}"
