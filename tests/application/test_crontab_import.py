"""What workflows a crontab becomes, and what the report says about the rest."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler_application.importing.convert import Conversion, ZoneUndecided, convert_crontab
from scheduler_application.importing.crontab import Form, decode
from scheduler_application.importing.form import read_any
from scheduler_application.importing.yaml_writing import write_yaml
from scheduler_application.workflow.document import parse_document
from scheduler_application.workflow.yaml_text import load_yaml
from scheduler_domain.naming import NAME
from tests.support.corpus import CORPUS, cases, needs_corpus
from tests.support.crontabs import codes, imported, only_document

CRONTABS = cases("crontabs", "index.jsonl")


@needs_corpus
@pytest.mark.parametrize("case", CRONTABS, ids=lambda case: str(case["file"]))
def test_every_entry_becomes_a_workflow_that_is_accepted_or_is_reported(case: dict[str, Any]) -> None:
    crontab, _ = read_any(decode((CORPUS / case["file"]).read_bytes()), case["file"], Form(case["form"]))
    report = convert_crontab(crontab, Conversion("crontab", "UTC", follow_cron_tz=False))
    dropped = {note.line for note in report.notes if note.dropped}
    lines = {entry.line for entry in crontab.entries}
    assert {carried.line for carried in report.carried} | dropped == lines | {line.line for line in crontab.refused}
    assert dropped.isdisjoint(carried.line for carried in report.carried)
    for carried in report.carried:
        text = write_yaml(carried.document)
        assert load_yaml(text) == carried.document
        definition = parse_document(text).definition
        assert definition.name == carried.workflow
        assert definition.tasks["command"].env["CRON_COMMAND"].render({}) == carried.command
    assert len({carried.workflow for carried in report.carried}) == len(report.carried)


def test_an_entry_keeps_its_schedule_and_crons_rule_for_what_was_missed() -> None:
    document = only_document("30 2 * * MON-FRI ./report.sh --all\n", source="/home/ada/crontab")
    assert document["workflow"].startswith("report-")
    assert document["description"] == "Line 1 of /home/ada/crontab: 30 2 * * MON-FRI"
    assert document["labels"] == ["cron"]
    assert document["triggers"] == [{"schedule": "30 2 * * MON-FRI", "timezone": "Europe/Berlin", "misfire": "skip"}]
    assert document["tasks"]["command"]["on_worker_loss"] == "fail"


def test_a_shadow_import_only_records() -> None:
    (trigger,) = only_document("@daily a\n", shadow=True)["triggers"]
    assert trigger == {"schedule": "@daily", "timezone": "Europe/Berlin", "misfire": "skip", "shadow": True}


def test_names_stay_when_lines_are_added_moved_or_rescheduled() -> None:
    first = imported("0 1 * * * ./backup.sh /a\n0 2 * * * ./backup.sh /b\n")
    again = imported("# more\n5 5 * * * ./other\n0 3 * * * ./backup.sh /b\n0 1 * * * ./backup.sh /a\n")
    names = {carried.command: carried.workflow for carried in first.carried}
    assert names.items() <= {carried.command: carried.workflow for carried in again.carried}.items()
    assert len(set(names.values())) == 2


def test_the_same_command_many_times_is_as_many_workflows() -> None:
    report = imported("0 1 * * * ./a\n0 2 * * * ./a\n0 2 * * * ./a\n0 2 * * * ./a\n", owner="ada")
    assert len({carried.workflow for carried in report.carried}) == 4
    assert {carried.workflow for carried in imported("0 1 * * * ./a\n", owner="bob").carried}.isdisjoint(
        carried.workflow for carried in report.carried
    )


@given(st.text(min_size=1, max_size=200))
@settings(max_examples=300, deadline=None)
def test_every_command_has_a_valid_name(command: str) -> None:
    for carried in imported("0 1 * * * " + command.replace("\n", " ") + "\n").carried:
        assert NAME.fullmatch(carried.workflow)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.text(
    "ab \n\t\r'\"\\:#-?[]{}|>&*!%@`,=~0.x", max_size=12
)
CONTENTS = st.recursive(
    TEXTS | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(TEXTS, CONTENTS, min_size=1, max_size=4))
@settings(max_examples=300, deadline=None)
def test_yaml_is_read_back_as_it_was_written(content: dict[str, Any]) -> None:
    assert load_yaml(write_yaml(content)) == content


def test_yaml_is_for_people() -> None:
    text = write_yaml(only_document('0 1 * * * cd /srv && ./it\'s.sh "a b" >> log 2>&1\n'))
    assert "  - schedule: 0 1 * * *\n    timezone: Europe/Berlin\n" in text
    assert "    shell: |\n      export LOGNAME" in text
    assert '      CRON_COMMAND: cd /srv && ./it\'s.sh "a b" >> log 2>&1\n' in text


@pytest.mark.parametrize("follow", [True, False])
def test_cron_tz_moves_the_schedules_below_it_only_where_that_is_wanted(follow: bool) -> None:
    text = "0 1 * * * a\nCRON_TZ=America/New_York\n0 2 * * * b\nTZ=Asia/Tokyo\n0 3 * * * c\n"
    report = imported(text, follow_cron_tz=follow)
    zones = [carried.document["triggers"][0]["timezone"] for carried in report.carried]
    assert zones == (["Europe/Berlin", *["America/New_York"] * 2] if follow else ["Europe/Berlin"] * 3)
    assert {(2, "cron_tz"), (4, "tz")} <= codes(report)
    assert report.carried[2].document["tasks"]["command"]["env"]["TZ"] == "Asia/Tokyo"


def test_cron_tz_without_a_word_on_it_stops_the_import() -> None:
    with pytest.raises(ZoneUndecided) as caught:
        imported("CRON_TZ=UTC\n0 1 * * * a\nCRON_TZ=Asia/Tokyo\n")
    assert caught.value.lines == [1, 3]


def test_a_zone_that_nobody_knows_is_reported_with_its_line() -> None:
    report = imported("CRON_TZ=Mars/Olympus\n0 1 * * * a\n", follow_cron_tz=True)
    (note,) = (note for note in report.notes if note.code == "not_accepted")
    assert (note.line, note.dropped, report.carried) == (2, True, [])
    assert "Mars/Olympus" in note.what


def test_what_has_no_counterpart_is_dropped_with_its_line_and_reason() -> None:
    report = imported("@reboot a\n0 0 30 2 * b\n0 5-1 * * * c\n0 1 * * *\nx\n0 1 * * * curl ftp://me:hunter2@host/\n")
    assert {(note.line, note.code) for note in report.notes if note.dropped} == {
        (1, "reboot"),
        (2, "not_accepted"),
        (3, "never_due"),
        (4, "empty_command"),
        (5, "refused_line"),
        (6, "not_accepted"),
    }
    assert (report.carried, report.complete, report.entries) == ([], False, 5)
    assert all(note.what for note in report.notes)
    assert not any("hunter2" in note.what for note in report.notes)


def test_a_complete_import_still_tells_what_is_different() -> None:
    report = imported(
        'MAILTO=ops@example.org\nMAILTO=""\nRANDOM_DELAY=45\nLOGNAME=x\n=1\n0 1 * * 7#3 www-data a\r\n', Form.SYSTEM
    )
    assert report.complete
    assert codes(report) == {
        *[(1, "mail"), (4, "logname"), (5, "variable")],
        *[(6, "read_differently"), (6, "user"), (6, "carriage_return"), (6, "random_delay")],
    }
    (carried,) = report.carried
    (trigger,) = carried.document["triggers"]
    assert (trigger["schedule"], trigger["jitter"]) == ("0 1 * * 7", "45m")
    assert "MAILTO" not in carried.document["tasks"]["command"]["env"]


@pytest.mark.parametrize(("written", "jitter"), [("0", None), ("1441", None), ("x", None), ("1440", "1d"), ("²", None)])
def test_a_random_delay_is_a_jitter_where_a_trigger_takes_it(written: str, jitter: str | None) -> None:
    report = imported(f"RANDOM_DELAY={written}\n@daily a\n")
    assert report.carried[0].document["triggers"][0].get("jitter") == jitter
    assert (2, "random_delay") in codes(report)


def test_output_owner_and_six_fields_are_spoken_of() -> None:
    report = imported("0 1 * * * root /bin/a\n0 */5 * * * 1 /bin/b\n")
    assert codes(report) == {(None, "mail"), (None, "user"), (1, "form"), (2, "form")}
    assert (1, "user") in codes(imported("0 1 * * * a\n", owner="ada"))
    assert codes(imported("# nothing\n")) == {(None, "no_entries")}


def test_an_anacrontab_becomes_schedules_that_make_up_for_what_was_missed() -> None:
    report = imported(
        "START_HOURS_RANGE=3-22\nRANDOM_DELAY=10\nSHELL=/bin/sh\n1 5 daily run daily\n3 0 third run third\n"
        "@monthly 15 monthly run monthly\n0 5 never run never\n400 5 rare run rare\n",
        Form.ANACRON,
    )
    due = {carried.line: carried.document["triggers"][0] for carried in report.carried}
    common = {"timezone": "Europe/Berlin", "misfire": "fire_once", "jitter": "10m"}
    assert due == {
        4: {"schedule": "@daily", **common},
        5: {"every": "3d", **common},
        6: {"schedule": "@monthly", **common},
    }
    assert [carried.workflow.partition("-")[0] for carried in report.carried] == ["daily", "third", "monthly"]
    dropped = {(note.line, note.code) for note in report.notes if note.dropped}
    assert dropped == {(7, "not_accepted"), (8, "not_accepted")}
    assert {(1, "start_hours"), (4, "delay"), (6, "delay")} <= codes(report)
    assert (5, "delay") not in codes(report)
