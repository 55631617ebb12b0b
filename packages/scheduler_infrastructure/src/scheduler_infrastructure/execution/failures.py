"""Failed outcomes as executors word them."""

import signal

import msgspec

from scheduler_domain.run.outcome import Failed, TaskError

_MAX_MESSAGE = 500
_MAX_DETAIL = 4000


def failed(
    code: str,
    message: str,
    *,
    retryable: bool = True,
    exit_code: int | None = None,
    http_status: int | None = None,
    detail: str | None = None,
) -> Failed:
    """A failure within the bounds of `TaskError`; text that no store takes (NUL, lone surrogates) is replaced."""
    error = TaskError(
        code=code,
        message=_storable(message)[:_MAX_MESSAGE],
        exit_code=exit_code,
        http_status=http_status,
        detail=None if detail is None else _storable(detail)[-_MAX_DETAIL:],
    )
    return Failed(error, retryable)


def invalid_settings(error: msgspec.ValidationError) -> Failed:
    return failed("invalid_settings", f"the task's settings are wrong: {error}", retryable=False)


def killed(number: int, detail: str | None = None) -> Failed:
    """A process was ended by signal ``number``, and not by us."""
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    return failed("killed_by_signal", f"the process was killed by {name}", exit_code=128 + number, detail=detail)


def supervisor_lost() -> Failed:
    return failed("supervisor_lost", "the process that supervised the attempt was killed; the attempt was ended")


def survived() -> Failed:
    return failed("unkillable", "a process of the attempt could not be ended; the supervisor goes on trying")


def _storable(text: str) -> str:
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
