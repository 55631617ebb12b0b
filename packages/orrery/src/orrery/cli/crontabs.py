"""``orrery import crontab``: workflows from a crontab, and what is different about them."""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO

from orrery.cli.definitions import PathOrDash, deploy_documents
from orrery.cli.documents import MAX_BYTES, Document
from orrery.cli.failures import FAILED, OK, CommandFailed, UsageError
from orrery.cli.session import Flag, Here
from orrery.cli.system_zone import zone_or_system

if TYPE_CHECKING:
    from scheduler_application.importing.crontab import Crontab
    from scheduler_application.importing.report import ImportReport, Note

_LONGEST_COMMAND = 60


async def import_crontab(
    file: PathOrDash,
    /,
    *,
    form: Literal["user", "system", "anacron"] | None = None,
    timezone: str | None = None,
    user: str | None = None,
    follow_cron_tz: Flag = False,
    ignore_cron_tz: Flag = False,
    output: Path | None = None,
    force: Flag = False,
    deploy: Flag = False,
    shadow: Flag = False,
    json: Flag = False,
    session: Here,
) -> int:
    """Makes a workflow of each entry of a crontab, and reports what could not be carried over.

    Exit code 0: every line was carried over, with or without notes; 1: some line was not. With neither --output nor
    --deploy it only reports.

    Parameters
    ----------
    file
        The crontab, or - for standard input.
    form
        user: five fields and a command; system: a user before the command; anacron. Found out where it is not given.
    timezone
        The zone that cron runs in, e.g. Europe/Berlin; that of this machine where it is not given.
    user
        Whose crontab it is, for the form user: gives LOGNAME and HOME.
    follow_cron_tz
        CRON_TZ in the file sets the zone of the schedules below it, as in cronie.
    ignore_cron_tz
        CRON_TZ in the file sets no zone, as in Debian's cron.
    output
        Write one YAML file for each workflow into this folder.
    force
        Overwrite files in the folder.
    deploy
        Make the workflows live, as orrery deploy does.
    shadow
        The triggers only record what they would start: for a comparison with cron (orrery import compare).
    json
        Print the report as JSON.
    """
    if follow_cron_tz and ignore_cron_tz:
        raise UsageError("give either --follow-cron-tz or --ignore-cron-tz")
    if force and output is None:
        raise UsageError("--force belongs to --output")
    zone = zone_or_system(timezone)
    crontab, guessed_by = _read(file, form, session.stdin)
    if user is not None and crontab.form != "user":
        raise UsageError(f"--user is for a user's crontab; the entries of this one ({crontab.form}) have their own")
    if shadow and crontab.form == "anacron":
        raise UsageError("--shadow is for a comparison with cron's log, and anacron's jobs are not in it")
    follow = follow_cron_tz if follow_cron_tz or ignore_cron_tz else None
    report = _convert(crontab, file, zone, follow, user, shadow)
    documents = _documents(report)
    if output is not None:
        _write(documents, output, force)
    deployed = await deploy_documents(documents, session, tell=not json) if deploy else []
    if json:
        facts: dict[str, Any] = {"file": file, "form_guessed_by": guessed_by, "timezone": zone, **asdict(report)}
        session.out.json(facts | ({"deployed": deployed} if deploy else {}))
    else:
        _tell(report, file, guessed_by, session)
        if output is not None:
            session.out.line()
            session.out.line(f"{len(documents)} files in {output}")
    done = report.complete and (not deploy or len(deployed) == len(documents))
    return OK if done else FAILED


def _read(file: str, form: str | None, stdin: TextIO) -> "tuple[Crontab, str | None]":
    from scheduler_application.importing.crontab import Form, decode
    from scheduler_application.importing.form import read_any

    if file.startswith("-") and file != "-":
        raise UsageError(f"Unknown option: {file}")
    content = _content(file, stdin)
    if len(content) > MAX_BYTES:
        raise CommandFailed(f"{file} is larger than {MAX_BYTES} bytes")
    return read_any(decode(content), file, None if form is None else Form(form))


def _content(file: str, stdin: TextIO) -> bytes:
    """The bytes as they are: text streams turn CR LF into LF, which cron does not."""
    try:
        if file != "-":
            with Path(file).open("rb") as stream:
                return stream.read(MAX_BYTES + 1)
        source = getattr(stdin, "buffer", None)
        return stdin.read(MAX_BYTES + 1).encode() if source is None else source.read(MAX_BYTES + 1)
    except OSError as error:
        raise CommandFailed(f"{file} cannot be read: {error.strerror}") from error


def _convert(
    crontab: "Crontab", file: str, zone: str, follow: bool | None, user: str | None, shadow: bool
) -> "ImportReport":
    from scheduler_application.importing.convert import Conversion, ZoneUndecided, convert_crontab

    source = "standard input" if file == "-" else file
    try:
        return convert_crontab(crontab, Conversion(source, zone, follow, user, shadow))
    except ZoneUndecided as error:
        raise UsageError(
            f"{file} sets CRON_TZ ({_lines(error.lines)}). cronie takes the schedules below it in that zone, Debian's "
            "cron does not: give --follow-cron-tz or --ignore-cron-tz"
        ) from error


def _documents(report: "ImportReport") -> list[Document]:
    from scheduler_application.importing.yaml_writing import write_yaml

    return [
        Document(f"{carried.workflow}.yaml", write_yaml(carried.document).encode(), "yaml", None)
        for carried in report.carried
    ]


def _write(documents: Iterable[Document], folder: Path, force: bool) -> None:
    """Writes all of them, or none where a file is there with other content."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        targets = {folder / document.label: document.content for document in documents}
        other = [path for path, content in targets.items() if path.exists() and path.read_bytes() != content]
        if other and not force:
            raise CommandFailed(*(f"{path} exists with other content (--force overwrites)" for path in other))
        for path, content in targets.items():
            path.write_bytes(content)
    except OSError as error:
        raise CommandFailed(f"{error.filename or folder} cannot be written: {error.strerror}") from error


def _tell(report: "ImportReport", file: str, guessed_by: str | None, session: Here) -> None:
    form = report.form if guessed_by is None else f"{report.form}, because {guessed_by}"
    session.out.line(f"{file} (form {form}): {len(report.carried)} of {report.entries} entries carried over")
    session.out.line()
    rows = [(each.line, each.schedule, each.workflow, _shortened(each.command)) for each in report.carried]
    session.out.table(("line", "schedule", "workflow", "command"), rows, empty="no workflow")
    for title, dropped in (("Not carried over", True), ("Different from cron", False)):
        lines = _told([note for note in report.notes if note.dropped is dropped])
        for line in ["", f"{title}:", *(f"  {line}" for line in lines)] if lines else []:
            session.out.line(line)


def _told(notes: "Iterable[Note]") -> list[str]:
    """One line for all notes that say the same."""
    places: dict[tuple[str, str], list[int | None]] = {}
    for note in notes:
        places.setdefault((note.what, note.instead), []).append(note.line)
    return [
        f"{_lines(lines)}: {what}" + (f" ({instead})" if instead else "") for (what, instead), lines in places.items()
    ]


def _lines(lines: Iterable[int | None]) -> str:
    numbers = [line for line in lines if line is not None]
    if not numbers:
        return "the file"
    return f"line{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


def _shortened(command: str) -> str:
    return command if len(command) <= _LONGEST_COMMAND else f"{command[: _LONGEST_COMMAND - 1]}…"
