r"""What ``%`` means in a crontab's command (cron 3.0pl1, do_command.c).

The first ``%`` without a backslash ends the command; what follows is standard input, in which each further ``%`` is a
newline. ``\%`` is a percent sign in both parts; ``\\`` is one backslash in the command and stays two in the input.
"""

import re

_IN_COMMAND = re.compile(r"\\([%\\])")
_COMMAND = re.compile(r"(?:\\.|[^%\\]|\\\Z)*", re.DOTALL)
_IN_INPUT = re.compile(r"(\\+)%|%")


def split_percent(text: str) -> tuple[str, str | None]:
    """The command as the shell gets it, and its standard input; ``None`` where the line has no ``%`` for one."""
    found = _COMMAND.match(text)
    end = found.end() if found else 0
    command = _IN_COMMAND.sub(r"\1", text[:end])
    return command, _standard_input(text[end + 1 :]) if end < len(text) else None


def _standard_input(text: str) -> str:
    """Cron adds the last newline, unless nothing but backslashes follows the last one."""
    given = _IN_INPUT.sub(lambda found: f"{found[1][:-1]}%" if found[1] else "\n", text)
    written = given.rstrip("\\")
    return given if not written or written.endswith("\n") else f"{given}\n"
