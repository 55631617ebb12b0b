"""A crontab → workflows in the product's own form, one for each entry, and a report of what is different."""

from dataclasses import dataclass, replace
from typing import Any

from scheduler_application.importing.command_task import TASK, command_task
from scheduler_application.importing.crontab import Crontab, Entry, Form
from scheduler_application.importing.differences import (
    ZONE,
    note_entry,
    note_file,
    note_variables,
    obstacle_to,
    random_delay,
)
from scheduler_application.importing.report import Carried, ImportReport
from scheduler_application.importing.workflow_names import workflow_name
from scheduler_application.workflow.document import check_content
from scheduler_domain.errors import InvalidDefinition
from scheduler_domain.workflow.durations import show_duration

LABEL = "cron"
_LONGEST_SOURCE = 500


class ZoneUndecided(ValueError):
    """The crontab sets ``CRON_TZ`` in ``lines``, and nobody said whose rule holds."""

    def __init__(self, lines: list[int]) -> None:
        self.lines = lines
        super().__init__()


@dataclass(frozen=True, slots=True)
class Conversion:
    """``source`` names the file in descriptions; ``timezone`` is the zone that the daemon runs in.

    ``follow_cron_tz``: whether ``CRON_TZ`` moves the schedules below it, as in cronie, or not, as in Debian; ``None``
    is good for crontabs that do not set it. ``owner`` is whose crontab it is, for the form ``user``. ``shadow``
    triggers only record what they would have started.
    """

    source: str
    timezone: str
    follow_cron_tz: bool | None = None
    owner: str | None = None
    shadow: bool = False


def convert_crontab(crontab: Crontab, conversion: Conversion) -> ImportReport:
    """Raises `ZoneUndecided`."""
    zoned = [variable.line for variable in crontab.variables if variable.name == ZONE]
    if zoned and conversion.follow_cron_tz is None:
        raise ZoneUndecided(zoned)
    report = ImportReport(crontab.form.value, len(crontab.entries))
    note_file(report, crontab, conversion.owner)
    note_variables(report, crontab, conversion.timezone, follow=bool(conversion.follow_cron_tz))
    taken: set[str] = set()
    for entry in crontab.entries:
        owned = entry if crontab.form is not Form.USER else replace(entry, user=conversion.owner)
        _convert(owned, crontab.form, conversion, taken, report)
    report.notes.sort(key=lambda note: note.line or 0)
    return report


def _convert(entry: Entry, form: Form, conversion: Conversion, taken: set[str], report: ImportReport) -> None:
    if obstacle := obstacle_to(entry, form):
        report.note(entry.line, *obstacle, dropped=True)
        return
    identity = (entry.user or "", entry.command, entry.stdin or "")
    name = workflow_name(entry.job or entry.command, identity, entry.schedule, taken)
    document = {
        "workflow": name,
        "description": f"Line {entry.line} of {conversion.source[-_LONGEST_SOURCE:]}: {entry.schedule}",
        "labels": [LABEL],
        "triggers": [_trigger(entry, form, conversion)],
        "tasks": {TASK: command_task(entry, form)},
    }
    try:
        check_content(document)
    except InvalidDefinition as error:
        reasons = "; ".join(problem.message for problem in error.problems[:3])
        report.note(entry.line, "not_accepted", reasons, "write this workflow by hand", dropped=True)
        return
    report.carried.append(Carried(entry.line, entry.schedule, entry.user, entry.command, name, document))
    note_entry(report, entry, form)


def _trigger(entry: Entry, form: Form, conversion: Conversion) -> dict[str, Any]:
    """Cron skips what it missed; anacron is there to make up for it."""
    zone = entry.environment.get(ZONE) if conversion.follow_cron_tz else None
    trigger: dict[str, Any] = {
        **_due(entry, form),
        "timezone": zone or conversion.timezone,
        "misfire": "fire_once" if form is Form.ANACRON else "skip",
    }
    if minutes := random_delay(entry):
        trigger["jitter"] = show_duration(minutes * 60)
    if conversion.shadow:
        trigger["shadow"] = True
    return trigger


def _due(entry: Entry, form: Form) -> dict[str, Any]:
    if form is not Form.ANACRON:
        return {"schedule": entry.times}
    if entry.schedule.startswith("@"):
        return {"schedule": entry.schedule}
    days = int(entry.schedule)
    return {"schedule": "@daily"} if days == 1 else {"every": f"{days}d"}
