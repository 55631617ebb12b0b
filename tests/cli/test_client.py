"""The client library: both faces make the same calls."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from orrery import AsyncClient, Client
from orrery.connection import LOCAL_SERVER, Connection, find_connection
from orrery.errors import CannotConnect, Conflict, Invalid, NotFound, Unauthorized
from tests.support.canned_server import CannedServer, canned_server

RUN = "0190aaaa-0000-7000-8000-000000000001"
STARTED = {"run_id": RUN, "state": "running"}
LINE = {"cursor": "1", "task": "a", "item_index": None, "text": "one", "truncated": False}


@pytest.fixture
def server() -> Iterator[CannedServer]:
    with canned_server() as canned:
        yield canned


def test_the_sync_face_makes_the_same_calls(server: CannedServer) -> None:
    server.on("POST /workflows/report/run", (202, STARTED))
    server.on("GET /runs", (200, {"items": [], "next_cursor": None}))
    with Client(Connection(server.url, "ork_k")) as client:
        assert client.start_run("report", {"day": "x"})["run_id"] == RUN
        assert client.list_runs(state="failed")["items"] == []
    assert server.received[0].json == {"inputs": {"day": "x"}}
    assert server.received[1].query == {"state": "failed", "limit": "50"}


async def test_the_async_face_makes_the_same_calls(server: CannedServer) -> None:
    server.on("POST /workflows/report/run", (202, STARTED))
    async with AsyncClient(Connection(server.url, "ork_k")) as client:
        started = await client.start_run("report", {"day": "x"})
    assert started["run_id"] == RUN
    assert server.received[0].json == {"inputs": {"day": "x"}}


def test_both_faces_follow_a_log(server: CannedServer) -> None:
    stream = f'event: line\nid: 1\ndata: {json.dumps(LINE)}\n\nevent: end\ndata: {{"finished": true}}\n\n'.encode()
    server.on(f"GET /runs/{RUN}/logs", (200, stream))
    with Client(Connection(server.url)) as client:
        assert [line["text"] for line in client.follow_logs(RUN)] == ["one"]


@pytest.mark.parametrize(
    ("status", "kind"), [(401, Unauthorized), (404, NotFound), (409, Conflict), (413, Invalid), (422, Invalid)]
)
def test_an_error_has_the_class_that_says_what_to_do(server: CannedServer, status: int, kind: type[Exception]) -> None:
    server.on(f"GET /runs/{RUN}", (status, {"code": "some_code", "detail": "one sentence"}))
    with Client(Connection(server.url)) as client, pytest.raises(kind, match="one sentence") as caught:
        client.get_run(RUN)
    assert getattr(caught.value, "code") == "some_code"  # noqa: B009 - `kind` is only known as an exception


async def test_an_answer_that_never_came_is_asked_for_again_with_the_same_key() -> None:
    seen: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request.headers["Idempotency-Key"])
        if len(seen) < 3:
            raise httpx2.ReadError("the connection was cut")
        return httpx2.Response(202, json=STARTED)

    async with AsyncClient(Connection("http://x"), transport=httpx2.MockTransport(answer)) as client:
        assert await client.start_run("report") == STARTED
    assert (len(seen), len(set(seen))) == (3, 1)


async def test_a_certificate_that_cannot_be_trusted_is_said_so() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate")

    async with AsyncClient(Connection("https://x"), transport=httpx2.MockTransport(answer)) as client:
        with pytest.raises(CannotConnect, match="https://x cannot be trusted"):
            await client.get_run(RUN)


def test_a_program_finds_its_server_as_the_commands_do(tmp_path: Path) -> None:
    assert find_connection({"ORRERY_DATA_DIR": str(tmp_path)}) == Connection(LOCAL_SERVER, None)
    (tmp_path / "admin.json").write_text('{"api_key": "ork_local"}')
    assert find_connection({"ORRERY_DATA_DIR": str(tmp_path)}).api_key == "ork_local"
    given = {"ORRERY_DATA_DIR": str(tmp_path), "ORRERY_URL": "https://o", "ORRERY_API_KEY": "ork_given"}
    assert find_connection(given) == Connection("https://o", "ork_given")
    assert "ork_given" not in repr(find_connection(given))
