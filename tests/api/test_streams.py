"""Logs and changes, as they happen."""

import httpx2
import pytest
from fastapi import FastAPI

from scheduler_api.live import Streams
from scheduler_application.run.logs import LogPage
from tests.api.asgi import Exchange
from tests.api.fakes import RUN_ID, Installation, a_line

LOGS = f"/api/v1/runs/{RUN_ID}/logs"
EVENTS = (b"accept", b"text/event-stream")


async def test_a_log_is_text_unless_asked_otherwise(client: httpx2.AsyncClient) -> None:
    response = await client.get(LOGS)
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.text == "load: one\\x1b[2J\nload: two </script>\n"
    assert (response.headers["orrery-cursor"], response.headers["orrery-finished"]) == ("c2", "true")


async def test_the_log_of_one_task_is_its_bare_lines(client: httpx2.AsyncClient) -> None:
    assert (await client.get(f"{LOGS}?task=load&cursor=c1")).text == "two </script>\n"


async def test_a_log_can_be_read_as_json(client: httpx2.AsyncClient) -> None:
    body = (await client.get(LOGS, headers={"Accept": "application/json"})).json()
    assert [line["text"] for line in body["items"]] == ["one\x1b[2J", "two </script>"]
    assert (body["next_cursor"], body["finished"]) == ("c2", True)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("limit=0", "number_out_of_range"),
        ("limit=1001", "number_out_of_range"),
        ("cursor=other", "invalid_cursor"),
        ("offset=-1", "unknown_parameter"),
        ("tail=0", "unknown_parameter"),
    ],
)
async def test_a_log_is_not_read_from_nowhere(client: httpx2.AsyncClient, query: str, code: str) -> None:
    response = await client.get(f"{LOGS}?{query}")
    assert (response.status_code, response.json()["code"]) == (422, code)


async def test_a_followed_log_ends_with_its_run(app: FastAPI) -> None:
    exchange = Exchange(app, "GET", LOGS, headers=[EVENTS])
    assert await exchange.status() == 200
    assert exchange.headers["content-type"].startswith("text/event-stream")
    assert await exchange.event() == "retry: 1000"
    first = await exchange.event()
    assert first.startswith("event: line\nid: c1\ndata: {")
    assert "\\u001b" in first
    assert (await exchange.event()).startswith("event: line\nid: c2\n")
    assert (await exchange.event()).startswith("event: end\n")
    assert await exchange.rest() == b""


async def test_a_stream_that_breaks_among_lines_of_one_cursor_loses_none(
    app: FastAPI, installation: Installation
) -> None:
    lines = [a_line(1, "a"), a_line(2, "b"), a_line(2, "c"), a_line(2, "d")]
    installation.answers("read_logs", LogPage(lines, "c2", finished=True))
    exchange = Exchange(app, "GET", LOGS, headers=[EVENTS])
    await exchange.status()
    await exchange.event()
    events = [await exchange.event() for _ in lines]
    assert [event.split("\n")[1] for event in events] == ["id: c1", "id: c1", "id: c1", "id: c2"]
    await exchange.rest()


async def test_a_followed_log_waits_for_more(app: FastAPI, installation: Installation) -> None:
    pages = [LogPage([a_line(1, "a")], "c1", False), LogPage([], "c1", False), LogPage([a_line(2, "b")], "c2", True)]
    installation.answers("read_logs", lambda _: pages.pop(0))
    exchange = Exchange(app, "GET", LOGS, headers=[EVENTS])
    await exchange.status()
    assert b"id: c2" in await exchange.rest()
    assert [command.cursor for command in installation.commands("read_logs")] == [None, "c1", "c1"]


@pytest.mark.parametrize(("last", "first_id"), [(b"c1", "c2"), (b"abc", "c1"), (b"9" * 400, "c1")])
async def test_a_log_is_resumed_where_it_was_left_or_from_its_start(app: FastAPI, last: bytes, first_id: str) -> None:
    exchange = Exchange(app, "GET", LOGS, headers=[EVENTS, (b"last-event-id", last)])
    await exchange.status()
    await exchange.event()
    assert f"id: {first_id}\n" in await exchange.event()
    await exchange.rest()


async def test_changes_are_sent_as_they_are_published(app: FastAPI, installation: Installation) -> None:
    exchange = Exchange(app, "GET", "/api/v1/stream")
    assert await exchange.status() == 200
    assert await exchange.event() == "retry: 1000"
    await installation.live.publish([{"kind": "run", "id": RUN_ID, "state": "failed\n\ndata: x"}])
    event = await exchange.event()
    assert event.startswith('event: change\ndata: {"kind":"run"')
    assert "\n\n" not in event
    await exchange.leave()


async def test_a_watcher_that_comes_back_is_told_to_read_again(app: FastAPI) -> None:
    exchange = Exchange(app, "GET", "/api/v1/stream", headers=[(b"last-event-id", b"7")])
    await exchange.status()
    await exchange.event()
    assert (await exchange.event()).startswith("event: reset\n")
    await exchange.leave()


async def test_a_silent_stream_pings(app: FastAPI) -> None:
    app.state.streams = Streams(ping_seconds=0.01)
    exchange = Exchange(app, "GET", "/api/v1/stream")
    await exchange.status()
    await exchange.event()
    assert await exchange.event() == ": ping"
    await exchange.leave()


async def test_streams_end_when_the_process_stops(app: FastAPI) -> None:
    exchange = Exchange(app, "GET", "/api/v1/stream")
    await exchange.status()
    app.state.streams.stopping.set()
    await exchange.rest()


async def test_streams_over_the_bound_are_429(app: FastAPI) -> None:
    app.state.streams = Streams(limit=1)
    first = Exchange(app, "GET", "/api/v1/stream")
    assert await first.status() == 200
    second = Exchange(app, "GET", "/api/v1/stream")
    assert await second.status() == 429
    assert second.headers["retry-after"] == "5"
    await first.leave()
    third = Exchange(app, "GET", "/api/v1/stream")
    assert await third.status() == 200
    await third.leave()


async def test_a_source_that_breaks_cuts_the_stream(app: FastAPI, installation: Installation) -> None:
    answers: list[object] = [LogPage([a_line(1, "a")], "c1", False), RuntimeError("the store fell over")]
    installation.answers("read_logs", lambda _: answers.pop(0))
    exchange = Exchange(app, "GET", LOGS, headers=[EVENTS])
    assert await exchange.status() == 200
    with pytest.raises(RuntimeError):
        await exchange.rest()
