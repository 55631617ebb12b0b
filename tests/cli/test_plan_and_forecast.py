"""What a deploy would change, and what the clock will start, from the command line."""

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from orrery.cli.forecast import forecast_lines
from orrery.cli.main import run
from orrery.models import Forecast
from tests.support.canned_server import CannedServer
from tests.support.command_line import CommandLine

NINE = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
BLOCKS = "·░▒▓█"


def text(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def a_time(day: int, hour: int) -> dict[str, str]:
    return {"at": f"2026-11-{day:02}T{hour:02}:30:00Z", "local": f"2026-11-{day:02}T{hour + 1:02}:30:00+01:00"}


def a_trigger(name: str, **changed: Any) -> dict[str, Any]:
    """A trigger's plan; keys of its fires and its own."""
    fires: dict[str, Any] = {"until": "2026-12-02T09:00:00Z", "unchanged": 0, "days": []}
    fires |= {"appear": [], "vanish": [], "move": [], "appear_total": 0, "vanish_total": 0, "move_total": 0}
    own: dict[str, Any] = {"trigger": name, "change": None, "paused": False, "truncated": False, "note": None}
    fires |= {key: value for key, value in changed.items() if key in fires}
    own |= {key: value for key, value in changed.items() if key in own}
    return {**own, "fires": fires}


def a_plan(*triggers: dict[str, Any], **changed: Any) -> dict[str, Any]:
    plan: dict[str, Any] = {"workflow": "report", "live_version": 3, "version": 4, "creates_version": True}
    plan |= {"enabled": True, "unchanged": False, "definition_total": 0, "definition": []}
    plan |= {"planned_from": "2026-11-02T09:00:00Z", "planned_until": "2026-12-02T09:00:00Z"}
    return {**plan, "triggers": list(triggers), **changed}


def a_change(path: str, change: str, before: str | None = None, after: str | None = None) -> dict[str, Any]:
    return {"path": path.split("."), "change": change, "before": before, "after": after}


PLANNED = """\
report: version 3 -> version 4
  ~ tasks.a.timeout: "10m" -> "20m"
  + tasks.load: {"shell": "true"}
  - inputs.day
  … and 7 more
  fire times from 2026-11-02 09:00:00Z to 2026-12-02 09:00:00Z:
    nightly: 0 appear, 0 vanish, 20 move, 10 stay
      ~ 2026-11-03 01:30:00Z -> 2026-11-03 03:30:00Z
      ~ 2026-11-04 01:30:00Z -> 2026-11-04 03:30:00Z
      ~ 2026-11-05 01:30:00Z -> 2026-11-05 03:30:00Z
      ~ 2026-11-06 01:30:00Z -> 2026-11-06 03:30:00Z
      ~ 2026-11-07 01:30:00Z -> 2026-11-07 03:30:00Z
      ~ … 15 more
    every-1: 1 appear, 2 vanish, 0 move, 0 stay (paused: none fires until it is resumed)
      note: it counts
      too many to compare them all: up to 2026-11-03 00:00:00Z
      + 2026-11-02 10:30:00Z
      - 2026-11-02 11:30:00Z
      - 2026-11-02 12:30:00Z
"""


def test_a_plan_shows_the_definition_and_the_fire_times(
    orrery: CommandLine, server: CannedServer, tmp_path: Path
) -> None:
    moves = [{"before": a_time(day, 1), "after": a_time(day, 3)} for day in range(3, 23)]
    often = {"appear": [a_time(2, 10)], "appear_total": 1, "vanish": [a_time(2, 11), a_time(2, 12)], "vanish_total": 2}
    told = {"paused": True, "truncated": True, "until": "2026-11-03T00:00:00Z", "note": "it counts"}
    plan = a_plan(
        a_trigger("nightly", move=moves, move_total=20, unchanged=10),
        a_trigger("every-1", **often, **told),
        a_trigger("quiet", unchanged=30),
        definition_total=10,
        definition=[
            a_change("tasks.a.timeout", "changed", '"10m"', '"20m"'),
            a_change("tasks.load", "added", None, '{"shell": "true"}'),
            a_change("inputs.day", "removed", '{"type": "string"}'),
        ],
    )
    (tmp_path / "report.yaml").write_text("workflow: report\n")
    server.on("POST /workflows:plan", (200, plan))
    finished = orrery("plan", "report.yaml")
    assert (finished.out, finished.err, finished.code) == (PLANNED, "", 0)
    (request,) = server.received
    assert (request.query, request.body) == ({"source": str(tmp_path)}, b"workflow: report\n")
    assert json.loads(orrery("plan", "report.yaml", "--json").out) == [plan]


@pytest.mark.parametrize(
    ("plan", "lines"),
    [
        (a_plan(unchanged=True), ["report: no changes"]),
        (
            a_plan(live_version=None, version=1),
            ["report: not deployed -> version 1", "  no fire time of the next 30 days changes"],
        ),
        (
            a_plan(version=2, creates_version=False, enabled=False),
            [
                "report: version 3 -> version 2 again; disabled, so nothing fires",
                "  no fire time of the next 30 days changes",
            ],
        ),
        (
            a_plan(a_trigger("t", appear=[a_time(3, 1)], appear_total=1), version=3, creates_version=False),
            [
                "report: version 3 again, with other fire times",
                "  fire times from 2026-11-02 09:00:00Z to 2026-12-02 09:00:00Z:",
                "    t: 1 appear, 0 vanish, 0 move, 0 stay",
                "      + 2026-11-03 01:30:00Z",
            ],
        ),
    ],
)
def test_a_plan_says_in_one_line_what_would_be_live(
    orrery: CommandLine, server: CannedServer, plan: dict[str, Any], lines: list[str]
) -> None:
    server.on("POST /workflows:plan", (200, plan))
    assert orrery("plan", "-", stdin="workflow: report\n").out.splitlines() == lines


def test_one_wrong_file_of_a_folder_is_named_and_the_others_are_planned(
    orrery: CommandLine, server: CannedServer, tmp_path: Path
) -> None:
    (tmp_path / "flows").mkdir()
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / "flows" / name).write_text("workflow: x")
    errors = [{"loc": ["tasks"], "code": "unknown_key", "msg": "unknown key shel", "line": 4, "column": 5}]
    problem = {"code": "invalid_definition", "detail": "unknown key shel", "errors": errors}
    server.on("POST /workflows:plan", (422, problem), (200, a_plan(unchanged=True)))
    finished = orrery("plan", "flows")
    assert finished.code == 1
    assert finished.err == "flows/a.yaml:4:5: unknown key shel\n"
    assert finished.out == "report: no changes\n"


def a_forecast(starts: list[int], begin: datetime = NINE, **changed: Any) -> Any:
    most = max(starts)
    peak = {"at": text(begin + timedelta(minutes=starts.index(most))), "starts": most, "busy": most / 2}
    forecast: dict[str, Any] = {"planned_from": text(begin), "truncated": False, "queue": None, "slots": 4}
    forecast |= {"planned_until": text(begin + timedelta(minutes=len(starts))), "total": sum(starts)}
    forecast |= {"peak": peak if most else None, "starts": starts, "busy": [each / 2 for each in starts]}
    forecast |= {"queues": [{"queue": "default", "slots": 4, "starts": sum(starts), "peak": peak, "crowded": 1}]}
    forecast |= {"crowded_total": 1, "crowded": [peak], "advice_total": 0, "advice": [], "without_history": 0}
    return {**forecast, **changed}


ADVICE = [
    {
        "workflow": "report",
        "trigger": "nightly",
        "expression": "0 3 * * *",
        "change": {"jitter": "10m"},
        "crowded_starts": 1,
        "peak_after": 8,
    },
    {
        "workflow": "sync",
        "trigger": "schedule-0a1b2c3d",
        "expression": "0 * * * *",
        "change": {"schedule": "H * * * *", "name": "schedule-0a1b2c3d"},
        "crowded_starts": 2,
        "peak_after": 7,
    },
]

FORECAST = """\
16 planned starts from 2026-11-02 09:30:00Z to 2026-11-02 11:00:00Z, 4 slots
at most 9 in one minute, at 2026-11-02 10:00:00Z
2 workflows never ran: how long is not known

hour (UTC)      00             15             30             45
2026-11-02 09h                                ·░▒▓··························
2026-11-02 10h  █···························································
starts in one minute to slots: · none  ░ to 25 %  ▒ to 50 %  ▓ to 100 %  █ over

queue default: 16 starts, at most 9 at 2026-11-02 10:00:00Z, 4 slots, 1 crowded minute

1 crowded minute:
  2026-11-02 10:00:00Z  9 starts, about 4.5 slots busy

spread these, one after the other:
  report nightly (0 3 * * *): jitter: 10m; then at most 8 in one minute
  sync schedule-0a1b2c3d (0 * * * *): schedule: "H * * * *", name: schedule-0a1b2c3d; then at most 7 in one minute
after 2 changes: at most 7 in one minute
"""


def test_a_forecast_is_a_map_of_hours_and_minutes_with_advice(orrery: CommandLine, server: CannedServer) -> None:
    starts = [0, 1, 2, 4, *([0] * 26), 9, *([0] * 59)]
    more = {"advice_total": 2, "advice": ADVICE, "without_history": 2}
    forecast = a_forecast(starts, NINE + timedelta(minutes=30), **more)
    server.on("GET /schedules/forecast", (200, forecast))
    finished = orrery("forecast", "--hours", "48", "--queue", "gpu")
    assert (finished.out, finished.code) == (FORECAST, 0)
    assert server.received[0].query == {"hours": "48", "queue": "gpu"}
    assert json.loads(orrery("forecast", "--json").out) == forecast


@pytest.mark.parametrize(
    ("width", "row"),
    [
        (200, "2026-11-02 09h  " + "█" + "·" * 58 + "▒"),
        (76, "2026-11-02 09h  " + "█" + "·" * 58 + "▒"),
        (75, "2026-11-02 09h  " + "█" + "·" * 10 + "▒"),
        (27, "2026-11-02 09h  █··▒"),
        (19, "2026-11-02 09h  █"),
        (1, "2026-11-02 09h  █"),
    ],
)
def test_a_narrow_terminal_gets_wider_cells_and_loses_no_peak(width: int, row: str) -> None:
    forecast: Forecast = a_forecast([9, *([0] * 58), 2])
    assert row in list(forecast_lines(forecast, width, BLOCKS))


def test_the_width_comes_from_the_terminal(orrery: CommandLine, server: CannedServer) -> None:
    server.on("GET /schedules/forecast", (200, a_forecast([9, *([0] * 59)])))
    orrery.environ["COLUMNS"] = "40"
    assert "2026-11-02 09h  █···········\n" in orrery("forecast").out


def test_a_stream_without_blocks_gets_letters(orrery: CommandLine, server: CannedServer) -> None:
    server.on("GET /schedules/forecast", (200, a_forecast([9, 1, *([0] * 58)])))
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")
    assert run(["forecast"], orrery.environ, io.StringIO(), out, io.StringIO()) == 0
    assert b"2026-11-02 09h  #-..." in raw.getvalue()


def test_a_forecast_says_what_is_missing(orrery: CommandLine, server: CannedServer) -> None:
    server.on(
        "GET /schedules/forecast", (200, a_forecast([0, 0], slots=0, crowded=[], crowded_total=0, truncated=True))
    )
    assert orrery("forecast").out.splitlines() == [
        "0 planned starts from 2026-11-02 09:00:00Z to 2026-11-02 09:02:00Z, no live worker serves them",
        "there are too many due times to look further ahead",
    ]


@pytest.mark.parametrize("hours", ["0", "169", "x"])
def test_hours_have_bounds(orrery: CommandLine, hours: str) -> None:
    assert orrery("forecast", "--hours", hours).code == 2
