"""orrery import compare: cron's log beside the ledger of shadow triggers."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from scheduler_application.importing.crontab import Form
from tests.cli.test_definitions import a_workflow
from tests.support.canned_server import CannedServer
from tests.support.command_line import CommandLine
from tests.support.crontabs import imported

CRONTAB = "17 * * * * root cd / && run-parts --report /etc/cron.hourly\n30 2 * * * ada /srv/report.sh ${{ x }}\n"
SYSLOG = """\
2026-11-21T00:00:00.000001+00:00 web1 systemd[1]: Started.
2026-11-21T00:17:01.123456+00:00 web1 CRON[11]: (root) CMD (   cd / && run-parts --report /etc/cron.hourly)
2026-11-21T00:20:00.123456+00:00 web1 CRON[11]: (root) CMD (/srv/forgotten)
2026-11-21T01:17:02.000000+00:00 web1 CRON[12]: (root) CMD (   cd / && run-parts --report /etc/cron.hourly)
2026-11-21T01:30:01.000000+00:00 web1 CRON[13]: (ada) CMD (/srv/report.sh ${{ x }})
2026-11-21T03:00:00.000000+00:00 web1 systemd[1]: Started.
"""
BERLIN = ("--timezone", "Europe/Berlin")


def rows(workflow: str, *due: str, rule: str = "shadow") -> dict[str, Any]:
    items = [{"workflow": workflow, "trigger": "t", "due_at": at, "outcome": "skipped", "rule": rule} for at in due]
    return {"items": items, "next_cursor": None}


@pytest.fixture
def shadows(server: CannedServer) -> Mapping[str, str]:
    """Both entries are live as shadows since before the log; gives their names by user."""
    documents = {str(each.user): each.document for each in imported(CRONTAB, Form.SYSTEM, shadow=True).carried}
    names = {user: str(document["workflow"]) for user, document in documents.items()}
    listed = [a_workflow(name=name, labels=["cron"], created_at="2026-11-01T00:00:00Z") for name in names.values()]
    pages = [{"items": listed[:1], "next_cursor": "more"}, {"items": listed[1:], "next_cursor": None}]
    server.on("GET /workflows", *((200, page) for page in pages))
    for user, name in names.items():
        server.on(f"GET /workflows/{name}/versions/3", (200, {"number": 3, "definition": documents[user]}))
    return names


def test_a_cron_that_did_as_predicted_agrees(
    orrery: CommandLine, server: CannedServer, shadows: Mapping[str, str], tmp_path: Path
) -> None:
    (tmp_path / "syslog").write_text(SYSLOG)
    hourly = rows(shadows["root"], "2026-11-21T01:17:00Z")
    server.on(
        "GET /ledger",
        (200, {**hourly, "next_cursor": "more"}),
        (200, rows(shadows["root"], "2026-11-21T00:17:00Z")),
        (200, rows(shadows["ada"], "2026-11-21T01:30:00Z")),
    )
    finished = orrery("import", "compare", "--syslog", "syslog", *BERLIN)
    assert (finished.code, finished.err) == (0, "")
    header, _, hourly_row, daily_row, *unknown = (line for line in finished.out.splitlines() if line)
    assert header == "2026-11-21 01:00:00+01:00 to 2026-11-21 03:59:00+01:00; 4 starts in the log"
    assert hourly_row.split()[-3:] == ["2", "0", "0"]
    assert daily_row.split()[-3:] == ["1", "0", "0"]
    assert unknown == ["Commands of cron that no shadow workflow has:", "  1 × (root) /srv/forgotten"]
    ledger = [request.query for request in server.received if request.path == "/ledger"]
    assert [query["workflow"] for query in ledger] == [shadows["root"], shadows["root"], shadows["ada"]]
    assert ledger[0]["due_from"] == "2026-11-20T23:59:00.000001+00:00"
    assert ledger[1]["cursor"] == "more"


def test_differences_are_told_with_their_times_and_end_with_1(
    orrery: CommandLine, server: CannedServer, shadows: Mapping[str, str]
) -> None:
    late = rows(shadows["ada"], "2026-11-21T01:30:00Z", rule="misfire:skip")
    due = [f"2026-11-21T{hour}:17:00Z" for hour in ("00", "01", "02")]
    server.on("GET /ledger", (200, rows(shadows["root"], *due)), (200, late))
    finished = orrery("import", "compare", "--syslog", "-", *BERLIN, stdin=SYSLOG)
    assert finished.code == 1
    assert f"{shadows['root']}: predicted, and cron did not start it:\n  2026-11-21 03:17:00+01:00\n" in finished.out
    unpredicted = (
        f"{shadows['ada']}: cron started it, unpredicted:\n  2026-11-21 02:30:01+01:00 (ledger: misfire:skip)\n"
    )
    assert unpredicted in finished.out


def test_the_comparison_is_there_for_programs(
    orrery: CommandLine, server: CannedServer, shadows: Mapping[str, str]
) -> None:
    server.on("GET /ledger", (200, rows(shadows["root"], "2026-11-21T00:17:00Z")), (200, rows(shadows["ada"])))
    window = ("--since", "2026-11-21T00:10:00Z", "--until", "2026-11-21T01:00:00Z")
    finished = orrery("import", "compare", "--syslog", "-", *BERLIN, *window, "--json", stdin=SYSLOG)
    assert finished.code == 0
    comparison = json.loads(finished.out)
    assert (comparison["since"], comparison["agrees"]) == ("2026-11-21T00:10:00+00:00", True)
    hourly, daily = comparison["schedules"]
    assert hourly["matched"] == [{"due": "2026-11-21T00:17:00+00:00", "real": "2026-11-21T00:17:01.123456+00:00"}]
    assert (daily["user"], daily["command"], daily["matched"]) == ("ada", "/srv/report.sh ${{ x }}", [])
    assert comparison["unknown"] == [{"user": "root", "command": "/srv/forgotten", "starts": 1}]


def test_many_differences_are_shortened_for_people(
    orrery: CommandLine, server: CannedServer, shadows: Mapping[str, str]
) -> None:
    due = [f"2026-11-21T02:{minute:02}:00Z" for minute in range(25)]
    server.on("GET /ledger", (200, rows(shadows["root"], *due)), (200, rows(shadows["ada"])))
    finished = orrery("import", "compare", "--syslog", "-", *BERLIN, stdin=SYSLOG)
    assert "  and 5 more (--json shows all)\n" in finished.out


def test_workflows_that_are_not_shadows_of_a_crontab_are_left_alone(orrery: CommandLine, server: CannedServer) -> None:
    (live,) = imported("0 1 * * * a\n").carried
    listed = [
        a_workflow(name="other", labels=[]),
        a_workflow(name="draft", labels=["cron"], live_version=None),
        a_workflow(name="live", labels=["cron"]),
        a_workflow(name="by-hand", labels=["cron"]),
    ]
    server.on("GET /workflows", (200, {"items": listed, "next_cursor": None}))
    server.on("GET /workflows/live/versions/3", (200, {"definition": live.document}))
    mine = {"triggers": [{"every": "1h", "shadow": True}], "tasks": {"command": {"shell": "true"}}}
    server.on("GET /workflows/by-hand/versions/3", (200, {"definition": mine}))
    finished = orrery("import", "compare", "--syslog", "-", *BERLIN, stdin=SYSLOG)
    assert finished.code == 1
    assert finished.err.startswith("orrery: no shadow workflow of a crontab is live")


@pytest.mark.parametrize(
    ("argv", "stdin", "code", "words"),
    [
        ((), SYSLOG, 2, "--syslog"),
        (("--syslog", "--json"), SYSLOG, 2, "--syslog needs a file"),
        (("--syslog", "gone"), SYSLOG, 1, "gone cannot be read: No such file"),
        (("--syslog", "-"), "nothing with a time\n", 1, "no line that begins with a time"),
        (("--syslog", "-", "--year", "99"), SYSLOG, 2, "--year must be from 1970 to 9998"),
        (("--syslog", "-", "--since", "yesterday"), SYSLOG, 2, "--since must be an instant"),
        (("--syslog", "-", "--since", "2027-01-01T00:00:00Z"), SYSLOG, 2, "nothing lies between 2027-01-01"),
        (("--syslog", "-", "--timezone", "Mars"), SYSLOG, 2, "--timezone: unknown time zone"),
    ],
)
def test_what_cannot_be_compared_is_one_line(
    orrery: CommandLine, argv: tuple[str, ...], stdin: str, code: int, words: str
) -> None:
    finished = orrery("import", "compare", *argv, stdin=stdin)
    assert (finished.code, finished.out, finished.err.count("\n")) == (code, "", 1)
    assert words in finished.err


def test_an_anacrontab_has_no_shadow(orrery: CommandLine) -> None:
    finished = orrery("import", "crontab", "-", "--form", "anacron", *BERLIN, "--shadow", stdin="1 5 j a\n")
    assert (finished.code, "anacron's jobs are not in it" in finished.err) == (2, True)
