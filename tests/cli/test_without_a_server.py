"""What works on a laptop that has no server: validate, next --schedule."""

import json
from pathlib import Path

import orrery
from tests.support.command_line import CommandLine

DEMO = Path(orrery.__file__).parent / "demo"

WRONG = """\
workflow: report
tasks:
  load: {shel: ./load.sh}
  tidy: {shell: ./tidy.sh, needs: [lod]}
"""


def test_the_demo_is_valid(orrery: CommandLine) -> None:
    finished = orrery("validate", str(DEMO))
    assert (finished.code, finished.err) == (0, "")
    assert finished.out.count(": valid\n") == len(list(DEMO.glob("*.yaml")))


def test_every_fault_has_its_line_and_column(orrery: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "report.yaml").write_text(WRONG)
    finished = orrery("validate", "report.yaml")
    assert (finished.code, finished.out) == (1, "")
    first, second = finished.err.splitlines()
    assert first.startswith("report.yaml:3:")
    assert "shel" in first
    assert second.startswith("report.yaml:4:")
    assert "lod" in second


def test_faults_are_there_for_programs_too(orrery: CommandLine) -> None:
    finished = orrery("validate", "-", "--json", stdin=WRONG)
    (checked,) = json.loads(finished.out)
    assert checked["file"] == "<stdin>"
    assert [(fault["line"], fault["loc"][:2]) for fault in checked["errors"]] == [
        (3, ["tasks", "load"]),
        (4, ["tasks", "tidy"]),
    ]


def test_a_folder_is_checked_to_its_last_file(orrery: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(WRONG)
    (tmp_path / "b.yaml").write_text("workflow: fine\ntasks: {go: {shell: 'true'}}\n")
    finished = orrery("validate", ".")
    assert finished.code == 1
    assert finished.out == "b.yaml: valid\n"


def test_a_workflow_in_python_is_checked_like_any_other(orrery: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text(
        "from orrery import every, schedule, task, workflow\n"
        "@task(retry=3, timeout='10m', env={'A': 'b'})\ndef extract(day: str) -> dict: ...\n"
        "@task()\ndef load(rows: dict) -> None: ...\n"
        "@workflow(name='fine', triggers=[schedule('30 2 * * MON-FRI', timezone='Europe/Berlin'), every('15m')])\n"
        "def fine(day: str = 'x'):\n    load(extract(day))\n"
        "@workflow(name='wrong', triggers=[schedule('61 * * * *')])\ndef wrong():\n    load({})\n"
    )
    finished = orrery("validate", "flow.py")
    assert (finished.code, finished.out) == (1, "flow.py: fine: valid\n")
    assert finished.err.startswith("flow.py: wrong: triggers.0.schedule: ")
    assert "61" in finished.err


def test_a_change_of_clocks_is_told_beside_the_fire(orrery: CommandLine) -> None:
    schedule = ("--schedule", "30 2 * * *", "--timezone", "Europe/Berlin")
    argv = ("next", *schedule, "--after", "2026-03-29T00:00:00Z", "-n", "1")
    (fire,) = json.loads(orrery(*argv, "--json").out)["fires"]
    assert (fire["at"], fire["local"]) == ("2026-03-29T01:00:00Z", "2026-03-29T03:00:00+02:00")
    assert "02:30 does not exist" in fire["note"]
    assert "02:30 does not exist" in orrery(*argv).out


def test_a_schedule_that_is_wrong_or_never_fires_is_one_line(orrery: CommandLine) -> None:
    for expression, words in (("61 * * * *", "61"), ("0 0 31 2 *", "never fires"), ("x", "")):
        finished = orrery("next", "--schedule", expression)
        assert (finished.code, finished.err.count("\n")) == (1, 1)
        assert words in finished.err
    assert "Mars/Olympus" in orrery("next", "--schedule", "* * * * *", "--timezone", "Mars/Olympus").err
