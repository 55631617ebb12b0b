"""Calendars from the command line."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.canned_server import CannedServer
from tests.support.command_line import CommandLine

CLOSED: dict[str, Any] = {
    "name": "closed",
    "kind": "dates",
    "definition": {"kind": "dates", "dates": ["12-24"]},
    "built_in": False,
    "version": 1,
    "days_first": None,
    "days_last": None,
    "fetched_at": None,
    "refresh_at": None,
    "error": None,
    "created_at": "2026-11-02T09:00:00Z",
    "updated_at": "2026-11-02T09:00:00Z",
}
FETCHED = {**CLOSED, "kind": "ics", "definition": {"kind": "ics"}, "fetched_at": "2026-11-02T09:00:00Z"}


def test_list_shows_each_calendar_and_what_failed(orrery: CommandLine, server: CannedServer) -> None:
    page = {"items": [CLOSED, {**FETCHED, "name": "fairs", "error": "status 500"}], "next_cursor": "fairs"}
    server.on("GET /calendars", (200, page))
    finished = orrery("calendars", "list", "--limit", "2")
    assert "closed    dates  2026-11-02 09:00:00Z" in finished.out
    assert finished.out.splitlines()[-1].endswith("status 500")
    assert finished.err == "more: --cursor fairs\n"
    assert json.loads(orrery("calendars", "list", "--json").out) == page


def test_show_has_the_days_of_a_range(orrery: CommandLine, server: CannedServer) -> None:
    days: dict[str, Any] = {"calendar": "holidays-de", "first": "2026-12-01", "last": "2026-12-31"}
    days |= {"items": [{"day": "2026-12-25", "name": "Erster Weihnachtstag"}]}
    view = {**CLOSED, "name": "holidays-de", "kind": "holidays", "built_in": True}
    view |= {"definition": {"kind": "holidays", "country": "DE"}, "updated_at": None}
    server.on("GET /calendars/holidays-de", (200, view))
    server.on("GET /calendars/holidays-de/days", (200, days))
    finished = orrery("calendars", "show", "holidays-de", "--from", "2026-12-01", "--to", "2026-12-31")
    assert "kind      holidays (built in)\ncountry   DE\n" in finished.out
    assert "2026-12-25  Erster Weihnachtstag" in finished.out
    assert server.received[-1].query == {"from": "2026-12-01", "to": "2026-12-31"}
    assert json.loads(orrery("calendars", "show", "holidays-de", "--json").out)["days"] == days


@pytest.mark.parametrize(
    ("argv", "definition"),
    [
        (["--day", "12-24", "--day", "2026-12-31"], {"kind": "dates", "dates": ["12-24", "2026-12-31"]}),
        (["--country", "DE"], {"kind": "holidays", "country": "DE"}),
        (
            ["--country", "DE", "--subdivision", "BY", "--category", "public", "--category", "catholic"],
            {"kind": "holidays", "country": "DE", "subdivision": "BY", "categories": ["public", "catholic"]},
        ),
        (
            ["--weekdays", "MON-THU", "--except", "holidays-de"],
            {"kind": "business_days", "weekdays": "MON-THU", "except": ["holidays-de"]},
        ),
        (["--except", "a", "--except", "b"], {"kind": "business_days", "except": ["a", "b"]}),
    ],
)
def test_set_sends_the_definition(
    orrery: CommandLine, server: CannedServer, argv: list[str], definition: dict[str, Any]
) -> None:
    server.on("PUT /calendars/closed", (200, CLOSED))
    assert orrery("calendars", "set", "closed", *argv).code == 0
    assert server.received[0].json == definition
    assert server.received[0].headers["idempotency-key"]


@pytest.mark.parametrize(
    "argv",
    [
        ["set", "closed"],
        ["set", "closed", "--day", "12-24", "--country", "DE"],
        ["set", "--day", "12-24"],
        ["subscribe", "https://example.com/x.ics"],
        ["import"],
        ["frobnicate"],
    ],
)
def test_a_wrong_command_line_is_a_usage_error(orrery: CommandLine, server: CannedServer, argv: list[str]) -> None:
    finished = orrery("calendars", *argv)
    assert (finished.code, finished.out, finished.err.count("\n")) == (2, "", 1)
    assert server.received == []


def test_what_the_server_refuses_is_shown_line_by_line(orrery: CommandLine, server: CannedServer) -> None:
    errors = [{"loc": ["body", "dates", 0], "code": "invalid_date", "msg": "'x' is not a date"}]
    server.on("PUT /calendars/closed", (422, {"code": "invalid_date", "detail": "…", "errors": errors}))
    finished = orrery("calendars", "set", "closed", "--day", "x")
    assert (finished.code, finished.out, finished.err) == (1, "", "closed: dates.0: 'x' is not a date\n")


def test_import_sends_the_file_as_it_is(orrery: CommandLine, server: CannedServer) -> None:
    content = b"BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n"
    Path("Betriebsferien 2026.ics").write_bytes(content)
    server.on("PUT /calendars/betriebsferien-2026", (200, FETCHED))
    server.on("PUT /calendars/other", (200, FETCHED))
    assert orrery("calendars", "import", "Betriebsferien 2026.ics", "--timezone", "Europe/Berlin").code == 0
    assert orrery("calendars", "import", "Betriebsferien 2026.ics", "--name", "other").code == 0
    first, second = server.received
    assert (first.body, first.headers["content-type"]) == (content, "text/calendar")
    assert (first.query, second.query) == ({"timezone": "Europe/Berlin"}, {"timezone": "UTC"})


def test_a_file_that_cannot_be_read_or_is_too_large_is_not_sent(orrery: CommandLine, server: CannedServer) -> None:
    Path("large.ics").write_bytes(b"x" * (1024 * 1024 + 1))
    for file in ("gone.ics", "large.ics", "."):
        finished = orrery("calendars", "import", file)
        assert (finished.code, finished.out) == (1, "")
        assert file in finished.err
    assert server.received == []


def test_subscribe_and_refresh_say_what_was_fetched(orrery: CommandLine, server: CannedServer) -> None:
    server.on("PUT /calendars/fairs", (200, {**FETCHED, "name": "fairs"}))
    assert orrery("calendars", "subscribe", "https://example.com/f.ics", "--name", "fairs", "--refresh", "1d").code == 0
    assert server.received[0].json == {
        "kind": "ics",
        "url": "https://example.com/f.ics",
        "refresh": "1d",
        "timezone": "UTC",
    }
    server.on("POST /calendars/fairs/refresh", (200, FETCHED), (200, {**FETCHED, "error": "status 500"}))
    assert orrery("calendars", "refresh", "fairs").out == "fairs: fetched 2026-11-02 09:00:00Z, version 1\n"
    failed = orrery("calendars", "refresh", "fairs")
    assert (failed.code, failed.out) == (1, "")
    assert failed.err == "orrery: fairs: status 500; the days fetched 2026-11-02 09:00:00Z stay\n"


def test_delete_says_so_and_shows_a_refusal(orrery: CommandLine, server: CannedServer) -> None:
    server.on("DELETE /calendars/closed", (204, b""), (409, {"code": "in_use", "detail": "trigger 1 names it"}))
    assert orrery("calendars", "delete", "closed").out == "closed: deleted\n"
    refused = orrery("calendars", "delete", "closed")
    assert (refused.code, refused.err) == (1, "orrery: trigger 1 names it\n")


def test_help_lists_what_can_be_done(orrery: CommandLine) -> None:
    finished = orrery("calendars", "--help")
    assert finished.code == 0
    for command in ("list", "show", "set", "import", "subscribe", "refresh", "delete"):
        assert f"  {command}: " in finished.out
