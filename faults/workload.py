"""What the load runs, sized for two cores: every task tells the effect server, and its output names its fence."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Antarctica/Troll")
LINES = 20
"""Lines that each `chatty` task prints."""

_SHELL = 'python3 -S "$ORRERY_SOURCE/effect.py" "$EFFECTS"'


@dataclass(frozen=True, slots=True)
class Workload:
    """``started`` are the workflows that the client starts, with their weights; ``limits`` what may be live at once of
    each workflow."""

    documents: Sequence[Mapping[str, Any]]
    started: Mapping[str, int]
    limits: Mapping[str, int]


def usual(*, intervals: int = 12, crons: int = 4) -> Workload:
    """The usual load: single tasks, graphs of five tasks, a workflow of which one run may live, tasks that take a
    while, tasks that print, and schedules of every kind."""
    documents = [_single(), _graph(), _serial(), _mixed(), _chatty(), *_ticking(intervals), *_clocked(crons)]
    # A workflow with one slot handles one run at a time: it must not be asked for more while half of the site is dead.
    return Workload(documents, {"single": 22, "graph": 8, "serial": 1, "mixed": 2, "chatty": 2}, {"serial": 1})


def note() -> dict[str, Any]:
    """A python task that has one effect."""
    return {"python": {"call": "effect:note", "args": {"url": "${{ vars.EFFECTS }}"}}}


def hold(seconds: float, group: str = "") -> dict[str, Any]:
    """A python task that enters, stays for ``seconds`` and leaves."""
    args = {"url": "${{ vars.EFFECTS }}", "seconds": seconds, "group": group}
    return {"python": {"call": "effect:hold", "args": args}}


def first_holds(seconds: float) -> dict[str, Any]:
    """A python task whose first claim takes ``seconds``, and every later one no time."""
    args = {"url": "${{ vars.EFFECTS }}", "seconds": seconds}
    return {"python": {"call": "effect:first_holds", "args": args}}


def shell(seconds: float | None = None) -> dict[str, Any]:
    """The same from a shell task."""
    script = _SHELL if seconds is None else f"{_SHELL} {seconds:g}"
    return {"shell": script, "env": {"EFFECTS": "${{ vars.EFFECTS }}"}}


def http(seconds: float = 0.0) -> dict[str, Any]:
    """An http task: known to the effect server by its idempotency key, without a fence."""
    address = "${{ vars.EFFECTS }}/effect"
    return {"http": {"method": "POST", "url": address, "query": {"hold": seconds}, "body": {}}}


def database(seconds: float) -> dict[str, Any]:
    """A statement that takes a while; it has no effect that anybody counts. Its database may be killed under it or take
    nobody in, for as long as a fault lasts, so it is tried again."""
    return {
        "retry": {"attempts": 40, "backoff": "constant", "delay": "1s"},
        "database": {
            "connection": "STORE",
            "sql": "select pg_sleep(:seconds)::text as slept",
            "parameters": {"seconds": seconds},
        },
    }


def _single() -> dict[str, Any]:
    return {"workflow": "single", "triggers": [{"manual": {}}], "tasks": {"one": note()}}


def _graph() -> dict[str, Any]:
    tasks = {
        "a": note(),
        "b": {"needs": ["a"], **note()},
        "c": {"needs": ["a"], **note()},
        "d": {"needs": ["b", "c"], **note()},
        "e": {"needs": ["d"], **shell()},
    }
    return {"workflow": "graph", "triggers": [{"manual": {}}], "tasks": tasks}


def _serial() -> dict[str, Any]:
    return {
        "workflow": "serial",
        "triggers": [{"manual": {}}],
        "concurrency": {"limit": 1},
        "tasks": {"work": hold(0.1, "serial")},
    }


def _mixed() -> dict[str, Any]:
    tasks = {"shell": shell(3.0), "http": http(3.0), "database": database(3.0), "python": hold(3.0)}
    return {"workflow": "mixed", "triggers": [{"manual": {}}], "tasks": tasks}


def _chatty() -> dict[str, Any]:
    args = {"value": "${{ secrets.CANARY }}", "lines": LINES}
    task = {"python": {"call": "effect:show", "args": args}}
    return {"workflow": "chatty", "triggers": [{"manual": {}}], "tasks": {"talk": task}}


def _ticking(count: int) -> list[dict[str, Any]]:
    """Intervals of 1 to 6 s. All keep every due time that was missed, so that the ledger has one row for each."""
    return [
        {
            "workflow": f"tick-{number}",
            "triggers": [{"name": "tick", "every": f"{1 + number % 6}s", "misfire": "fire_all"}],
            "tasks": {"tick": note()},
        }
        for number in range(count)
    ]


def _clocked(count: int) -> list[dict[str, Any]]:
    """Cron in zones with clock changes: every 10 s, every minute, and an hour that never comes during a campaign."""
    shapes = ("*/10 * * * * *", "* * * * *", "*/15 * * * * *", "30 2 * * *")
    return [
        {
            "workflow": f"clock-{number}",
            "triggers": [
                {
                    "name": "clock",
                    "schedule": shapes[number % len(shapes)],
                    "timezone": ZONES[number % len(ZONES)],
                    "misfire": "fire_once" if number % 2 else "fire_all",
                }
            ],
            "tasks": {"tick": note()},
        }
        for number in range(count)
    ]


def as_json(document: Mapping[str, Any]) -> str:
    return json.dumps(document)
