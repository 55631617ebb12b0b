"""The page 'From cron' says what is so: its crontab is imported, its codes are those of reports, its commands exist."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from scheduler_application.importing.crontab import Form
from scheduler_application.importing.report import ImportReport
from tests.support.command_line import CommandLine
from tests.support.crontabs import imported

PAGE = (Path(__file__).parents[2] / "docs/guides/from-cron.md").read_text()

REPORTS: tuple[Callable[[], ImportReport], ...] = (
    lambda: imported("x\n@reboot a\n0 5-1 * * * a\n0 1 * * *\n0 0 30 2 * a\n"),
    lambda: imported("# nothing\n"),
    lambda: imported("LOGNAME=x\n=1\nTZ=UTC\nCRON_TZ=UTC\n0 1 * * 7#3 root a\r\n", follow_cron_tz=False),
    lambda: imported("START_HOURS_RANGE=3-22\nRANDOM_DELAY=9\n1 5 j a\n", Form.ANACRON),
)


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(found)


@pytest.fixture
def orrery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "crontab").write_text(block("crontab"))
    return CommandLine()


def test_the_report_is_as_shown(orrery: CommandLine) -> None:
    command, _, output = block("console").partition("\n")
    finished = orrery(*shlex.split(command.removeprefix("$ orrery ")))
    assert (finished.code, finished.out) == (1, output)


def test_the_workflow_is_as_shown(orrery: CommandLine, tmp_path: Path) -> None:
    orrery("import", "crontab", "crontab", "--user", "ada", "--timezone", "Europe/Berlin", "--output", "flows")
    assert block("yaml") in [file.read_text() for file in (tmp_path / "flows").iterdir()]


def test_the_codes_of_notes_are_those_of_reports() -> None:
    listed = re.findall(
        r"`([a-z_]+)`", "".join(re.findall(r"^\| (`.*?) \|", PAGE.partition("## Notes")[2], re.MULTILINE))
    )
    reports: list[ImportReport] = [make() for make in REPORTS]
    assert {note.code for report in reports for note in report.notes} == set(listed)


def test_every_option_that_is_named_exists(orrery: CommandLine) -> None:
    known = "".join(orrery("import", name, "--help").out for name in ("crontab", "compare"))
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", PAGE)) - {"--day", "--label"}
    assert {option for option in named if f"  {option}" not in known} == set()
    assert "--label" in orrery("freeze", "--help").out
