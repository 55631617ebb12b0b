"""The ``retry`` of a task → `RetryPolicy`."""

from collections.abc import Mapping
from typing import Any

from scheduler_application.workflow import fields
from scheduler_application.workflow.fields import Loc, Reading
from scheduler_domain.workflow.definition import RetryPolicy

MAX_ATTEMPTS = 100
MAX_DELAY = 86_400
PROCESS_EXECUTORS = frozenset({"shell", "python"})


def read_retry(reading: Reading, value: Any, loc: Loc) -> RetryPolicy:
    """From a number of attempts, or an object."""
    if type(value) is int:
        return RetryPolicy(attempts=fields.integer(reading, value, loc, 1, MAX_ATTEMPTS))
    accepted = ("attempts", "backoff", "delay", "max_delay", "jitter", "on")
    written = fields.mapping(reading, value, loc, accepted, required=("attempts",))
    plain = RetryPolicy()
    attempts = fields.integer(reading, written.get("attempts", 1), (*loc, "attempts"), 1, MAX_ATTEMPTS)
    backoff = fields.choice(
        reading, written.get("backoff", plain.backoff), (*loc, "backoff"), ("exponential", "constant")
    )
    delay = fields.duration(reading, written.get("delay", "1s"), (*loc, "delay"), 0, MAX_DELAY)
    longest = written.get("max_delay", f"{max(int(delay), int(plain.max_delay))}s")
    max_delay = fields.duration(reading, longest, (*loc, "max_delay"), 0, MAX_DELAY)
    if max_delay < delay:
        reading.note((*loc, "max_delay"), "duration_out_of_range", "'max_delay' is shorter than 'delay'")
    jitter = fields.boolean(reading, written.get("jitter", plain.jitter), (*loc, "jitter"))
    if "on" not in written:
        return RetryPolicy(attempts, backoff, delay, max_delay, jitter)
    return RetryPolicy(attempts, backoff, delay, max_delay, jitter, *_retry_on(reading, written["on"], (*loc, "on")))


def _retry_on(reading: Reading, value: Any, loc: Loc) -> tuple[frozenset[int], frozenset[int], bool]:
    """What ``on`` leaves to be retried: nothing that it does not name."""
    written = fields.mapping(reading, value, loc, ("exit_codes", "http_statuses", "timeout"))
    if written == {} and isinstance(value, dict):
        reading.note(loc, "missing_key", "'on' names at least one of exit_codes, http_statuses, timeout")
    ranges = {"exit_codes": (1, 255, "such as [75]"), "http_statuses": (100, 599, "such as [429, 503]")}
    numbers: dict[str, frozenset[int]] = {}
    for key, (least, most, example) in ranges.items():
        listed = fields.sequence(reading, written[key], (*loc, key), example, 255, 1) if key in written else []
        numbers[key] = frozenset(
            fields.integer(reading, number, (*loc, key, place), least, most) for place, number in enumerate(listed)
        )
    timeout = fields.boolean(reading, written.get("timeout", False), (*loc, "timeout"))
    return numbers["exit_codes"], numbers["http_statuses"], timeout


def check_retry_on(reading: Reading, written: Mapping[str, Any], executor: str, loc: Loc) -> None:
    """A retry rule that this kind of task can never meet would be without effect."""
    retry = written.get("retry")
    on = retry.get("on") if isinstance(retry, dict) else None
    if not isinstance(on, dict):
        return
    for key, executors in (("exit_codes", PROCESS_EXECUTORS), ("http_statuses", frozenset({"http"}))):
        if key in on and executor not in executors:
            message = f"'{key}' has no effect on a task of kind {executor} (only on {', '.join(sorted(executors))})"
            reading.note((*loc, "retry", "on", key), "without_effect", message)
