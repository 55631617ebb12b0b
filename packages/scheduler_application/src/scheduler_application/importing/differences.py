"""What a crontab says that its workflows do not, or do in another way: the notes of a report."""

from collections.abc import Iterator

from scheduler_application.importing.command_task import NOT_FOR_COMMANDS, USER
from scheduler_application.importing.crontab import Crontab, Entry, Form
from scheduler_application.importing.form import likely_columns
from scheduler_application.importing.report import ImportReport
from scheduler_application.importing.times import REBOOT
from scheduler_application.workflow.fire_policies import LONGEST_JITTER
from scheduler_domain.naming import shown

ZONE, SPREAD, HOURS = "CRON_TZ", "RANDOM_DELAY", "START_HOURS_RANGE"

Told = tuple[str, str, str]
"""Code, what is different, what to do instead."""

_LOGS = "'orrery logs' shows the output; a task with 'run_if: any_failed' can tell of failures"


def note_file(report: ImportReport, crontab: Crontab, owner: str | None) -> None:
    """What concerns the file as a whole, and the lines that cron refuses."""
    for fault in crontab.faults:
        report.note(None, "ignored_by_cron", f"Debian's cron ignores the whole file: {fault}", "correct the file")
    for line in crontab.refused:
        report.note(line.line, "refused_line", line.why, "correct the line and import again", dropped=True)
    if not crontab.entries:
        report.note(None, "no_entries", "there is no entry in the file", "look whether the form is right: --form")
        return
    if not any(variable.name == "MAILTO" for variable in crontab.variables):
        report.note(None, "mail", "cron mails output to the owner, Orrery keeps it as the run's log", _LOGS)
    if crontab.form is Form.USER and owner is None:
        what = "the commands run as the worker's user, in the home folder of that user"
        report.note(None, "user", what, "--user says whose crontab it is, for LOGNAME and HOME")
    if crontab.form is Form.ANACRON:
        what = "anacron counts days from the last run, a schedule from the calendar, 'every' from the first deploy"
        report.note(None, "anacron", what, "what was missed starts once, as soon as Orrery is up again")


def note_variables(report: ImportReport, crontab: Crontab, timezone: str, *, follow: bool) -> None:
    anacron = crontab.form is Form.ANACRON
    for variable in crontab.variables:
        line, name, value = variable.line, variable.name, shown(variable.value)
        if name in NOT_FOR_COMMANDS and value:
            report.note(line, "mail", f"{name}={value}: Orrery mails no output, it keeps it as the run's log", _LOGS)
        elif name == ZONE and follow:
            report.note(line, "cron_tz", f"the schedules below are in {value}, as in cronie")
        elif name == ZONE:
            report.note(line, "cron_tz", f"{ZONE}={value} moves no schedule, as in Debian: all are in {timezone}")
        elif name == "TZ":
            what = f"TZ={value} is for the commands, as in Debian's cron and cronie: no schedule moves"
            report.note(line, "tz", what, "--timezone sets the zone of the schedules")
        elif name == USER and not anacron:
            report.note(line, "logname", f"{USER}={value} is left out: cron sets {USER} itself")
        elif name == HOURS and anacron:
            report.note(line, "start_hours", f"{HOURS}={value} is left out", "give the schedules an hour")
        elif not name:
            report.note(line, "variable", f"the variable without a name, of value {value!r}, is left out")


def obstacle_to(entry: Entry, form: Form) -> Told | None:
    """Why there is nothing to make of the entry."""
    if entry.schedule == REBOOT:
        return "reboot", "@reboot: no trigger fires when a machine starts", "leave the line to cron, or use systemd"
    if form is not Form.ANACRON and entry.times is None:
        return "never_due", f"no time matches: {'; '.join(entry.remarks)}", "correct the schedule"
    if not entry.command.strip():
        return "empty_command", "there is no command", "remove the line, or give it a command"
    return None


def note_entry(report: ImportReport, entry: Entry, form: Form) -> None:
    """What is different in an entry that was carried over."""
    for told in _about_entry(entry, form):
        report.note(entry.line, *told)


def _about_entry(entry: Entry, form: Form) -> Iterator[Told]:
    for remark in entry.remarks:
        yield "read_differently", remark, "look whether that is what is meant"
    if form is Form.USER and (columns := likely_columns(entry.command)):
        yield "form", columns, ""
    if entry.user is not None:
        what = f"cron runs it as {shown(entry.user)}, Orrery as the worker's user"
        yield "user", what, f"let a worker that runs as {shown(entry.user)} serve a queue of its own, and set 'queue'"
    if "\r" in entry.command or "\r" in (entry.stdin or ""):
        yield "carriage_return", "the line ends with CR LF; cron gives the CR to the shell", "save the file with LF"
    if entry.delay:
        yield "delay", f"anacron starts it {entry.delay} min after its turn", "begin with a task 'wait: {for: …}'"
    if SPREAD in entry.environment:
        yield _about_spread(entry)


def _about_spread(entry: Entry) -> Told:
    written = shown(entry.environment[SPREAD])
    if minutes := random_delay(entry):
        what = f"{SPREAD}={written} is carried over as a jitter of {minutes} min; Debian's cron knows no {SPREAD}"
        return "random_delay", what, "remove 'jitter' where starts must be on time"
    return "random_delay", f"{SPREAD}={written} is left out", f"a jitter is 1 to {LONGEST_JITTER // 60} min"


def random_delay(entry: Entry) -> int | None:
    """Minutes, where they are a jitter that a trigger accepts."""
    written = entry.environment.get(SPREAD, "")
    minutes = int(written) if written.isascii() and written.isdigit() and len(written) <= 9 else 0
    return minutes if 1 <= minutes <= LONGEST_JITTER // 60 else None
