"""A crontab → its entries, exactly as Debian's cron (3.0pl1) reads them.

What Debian does with a file that has one wrong line, or no newline at its end, is to ignore all of it. An import goes
on after a wrong line instead, so that one look shows everything; `Crontab` says what was refused.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from scheduler_application.importing.assignments import read_assignment
from scheduler_application.importing.percent import split_percent
from scheduler_application.importing.times import BadTimes, read_times
from scheduler_domain.naming import shown

MAX_LINES = 10_000
"""Debian ignores a longer crontab."""
MAX_LINE = 998
"""Bytes of an assignment or of a command; Debian refuses longer commands and cuts longer assignments."""

_BLANKS = " \t"
_USER = re.compile(r"([^ \t]+)[ \t]+(.*)", re.DOTALL)
_ACCOUNT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]*\$?")


class Form(StrEnum):
    """``user``: five fields and a command; ``system``: a user before the command; ``anacron``: period, delay, job."""

    USER = "user"
    SYSTEM = "system"
    ANACRON = "anacron"


@dataclass(frozen=True, slots=True)
class Entry:
    """One job.

    ``schedule`` is as written, with one blank between fields (of anacron the period); ``times`` is the cron expression
    for what the daemon makes of it, ``None`` where no time ever matches or none is named (``@reboot``). ``stdin`` is
    what the daemon writes to the command (``None``: no ``%`` in the line). ``environment`` has the assignments above
    the line. ``delay`` in minutes and ``job`` are anacron's.
    """

    line: int
    schedule: str
    times: str | None
    command: str
    stdin: str | None
    environment: Mapping[str, str]
    user: str | None = None
    remarks: tuple[str, ...] = ()
    """What the daemon reads otherwise than it looks."""
    delay: int | None = None
    job: str | None = None


@dataclass(frozen=True, slots=True)
class Variable:
    line: int
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class RefusedLine:
    line: int
    text: str
    why: str


@dataclass(slots=True)
class Crontab:
    """What a file says, in its order. ``faults`` are why Debian ignores the file as a whole."""

    form: Form
    entries: list[Entry] = field(default_factory=list)
    variables: list[Variable] = field(default_factory=list)
    refused: list[RefusedLine] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def environment(self) -> dict[str, str]:
        """The variables in force now; the last assignment of a name wins."""
        return {variable.name: variable.value for variable in self.variables}


class BadLine(ValueError):
    """A line that cron refuses; the text says why, beginning with cron's own words."""


def decode(content: bytes) -> str:
    """The text of a file; bytes that are no UTF-8 become lone surrogates, which no document accepts."""
    return content.decode("utf-8", "surrogateescape")


def read_crontab(text: str, form: Form) -> Crontab:
    """The crontab in ``text``, of form ``user`` or ``system``."""
    crontab = Crontab(form)
    lines = text.split("\n")
    if lines[-1]:
        crontab.faults.append("there is no newline at its end")
    if len(lines) - 1 > MAX_LINES:
        crontab.faults.append(f"it has more than {MAX_LINES} lines, of which these are read")
    for number, line in enumerate(lines[:MAX_LINES], start=1):
        content = line.lstrip(_BLANKS)
        if not content or content.startswith("#"):
            continue
        try:
            _read_line(crontab, number, content)
        except BadLine as error:
            crontab.refused.append(RefusedLine(number, line, str(error)))
    if crontab.refused:
        crontab.faults.append("it has a line with an error")
    return crontab


def _read_line(crontab: Crontab, number: int, content: str) -> None:
    assignment = read_assignment(content)
    if assignment is None:
        crontab.entries.append(_read_entry(number, content, crontab))
        return
    if len(encoded(content)) > MAX_LINE:
        raise BadLine(f"assignment too long: cron cuts the line after {MAX_LINE} bytes")
    crontab.variables.append(Variable(number, *assignment))


def _read_entry(number: int, content: str, crontab: Crontab) -> Entry:
    try:
        schedule, times, rest = read_times(content)
    except BadTimes as error:
        raise BadLine(str(error)) from None
    remarks = list(times.remarks)
    user = None
    if crontab.form is Form.SYSTEM:
        user, rest = _split_user(rest, remarks)
    elif rest.startswith("*"):
        raise BadLine(f"bad command: {shown(rest)!r} begins with '*', which looks like a sixth field of time")
    if len(encoded(rest)) > MAX_LINE:
        raise BadLine(f"command too long: cron accepts at most {MAX_LINE} bytes")
    command, stdin = split_percent(rest)
    environment = crontab.environment()
    return Entry(number, schedule, times.expression, command, stdin, environment, user, tuple(remarks))


def _split_user(rest: str, remarks: list[str]) -> tuple[str, str]:
    found = _USER.fullmatch(rest)
    if found is None:
        raise BadLine(f"bad username: a user and a command are expected after the time, found {shown(rest)!r}")
    user, command = found.groups()
    if user.startswith("*"):
        raise BadLine(f"bad username: {shown(user)!r}, which looks like a sixth field of time")
    if not _ACCOUNT.fullmatch(user):
        remarks.append(f"{shown(user)!r} is read as the user, but does not look like one; is the form 'user' right?")
    return user, command


def encoded(text: str) -> bytes:
    """The bytes that `decode` read."""
    return text.encode("utf-8", "surrogateescape")
