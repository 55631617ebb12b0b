"""What one attempt came to, as a value. It is not a state: `retry` turns it, with the policy, into one."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class TaskError:
    """Why an attempt or a task run failed: a stable ``code``, one plain sentence, and the exit code or HTTP
    status where there is one. ``detail`` holds at most 4,000 characters (a traceback, the end of stderr)."""

    code: str
    message: str
    exit_code: int | None = None
    http_status: int | None = None
    detail: str | None = None

    def to_json(self) -> dict[str, Any]:
        pairs = (
            ("code", self.code),
            ("message", self.message),
            ("exit_code", self.exit_code),
            ("http_status", self.http_status),
            ("detail", self.detail),
        )
        return {key: value for key, value in pairs if value is not None}


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The attempt did what it was asked; ``output`` is its JSON value (absent: ``None``)."""

    output: Any = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt failed; ``retryable=False`` says that another try cannot help (a bad definition, say)."""

    error: TaskError
    retryable: bool = True


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The attempt was ended because it ran longer than the task's timeout."""

    after_seconds: float


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The attempt was ended because its run or its task run was cancelled."""


@dataclass(frozen=True, slots=True)
class HandedBack:
    """The worker stops and returns the task run unfinished; costs no attempt."""


Outcome = Succeeded | Failed | TimedOut | Cancelled | HandedBack
