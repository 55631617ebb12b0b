"""An anacrontab → its entries, as Debian's anacron (2.3) reads them: period in days, delay in minutes, job, command."""

import re
from collections.abc import Iterator

from scheduler_application.importing.crontab import Crontab, Entry, Form, RefusedLine, Variable
from scheduler_domain.naming import shown

_DEBIANS = ("@monthly", "@yearly")
_PERIODS = (*_DEBIANS, "@daily", "@weekly", "@annually")

_IDLE = re.compile(r"[ \t]*(?:#|\Z)")
_ASSIGNMENT = re.compile(r"[ \t]*([^ \t=]+)[ \t]*=(.*)", re.DOTALL)
_JOB = re.compile(r"[ \t]*([0-9]+|@[^ \t]+)[ \t]+([0-9]+)[ \t]+([^ \t/]+)[ \t]+([^ \t].*)", re.DOTALL)
_LARGEST = 2**31 - 1


def read_anacrontab(text: str) -> Crontab:
    """The anacrontab in ``text``. A line may go on after a backslash; every other backslash anacron drops."""
    crontab = Crontab(Form.ANACRON)
    for number, written, content in _lines(text):
        if _IDLE.match(content):
            continue
        if assignment := _ASSIGNMENT.fullmatch(content):
            crontab.variables.append(Variable(number, *assignment.groups()))
            continue
        entry = _read_job(number, written, content, crontab)
        if isinstance(entry, Entry):
            crontab.entries.append(entry)
        else:
            crontab.refused.append(entry)
    return crontab


def _lines(text: str) -> Iterator[tuple[int, str, str]]:
    """Number of the first line, what is written, and what anacron makes of it."""
    first, parts = 1, []
    for number, line in enumerate(text.split("\n"), start=1):
        parts.append(line)
        if line.endswith("\\"):
            continue
        yield first, "\n".join(parts), " ".join(parts).replace("\\", "")
        first, parts = number + 1, []
    if parts:
        yield first, "\n".join(parts), " ".join(parts).replace("\\", "")


def _read_job(number: int, written: str, content: str, crontab: Crontab) -> Entry | RefusedLine:
    found = _JOB.fullmatch(content)
    if found is None:
        why = f"bad job: a period, a delay, a job's name and a command are expected, found {shown(content)!r}"
        return RefusedLine(number, written, why)
    period, delay, job, command = found.groups()
    remarks: list[str] = []
    if "\\" in written.replace("\\\n", ""):
        remarks.append("anacron drops the backslashes of the line")
    if period.startswith("@"):
        if period not in _PERIODS:
            why = f"bad period: {shown(period)!r} (accepted: days, {', '.join(_PERIODS)})"
            return RefusedLine(number, written, why)
        if period not in _DEBIANS:
            remarks.append(f"Debian's anacron knows no {period}, only {' and '.join(_DEBIANS)}")
    if max(int(part) for part in (period, delay) if part.isdigit()) > _LARGEST:
        return RefusedLine(number, written, "number out of range")
    environment = crontab.environment()
    return Entry(number, period, None, command, None, environment, remarks=tuple(remarks), delay=int(delay), job=job)
