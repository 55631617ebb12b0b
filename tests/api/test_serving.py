"""The application behind its real server, on a port of its own."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest
from fastapi import FastAPI

from scheduler_api.limits import RequestBounds
from scheduler_api.main import create_app
from scheduler_api.protocol import BoundedProtocol
from scheduler_api.serve import CannotListen, serve
from tests.api.fakes import API_KEY, Installation
from tests.support.private_servers import free_port

HOST = "127.0.0.1"
AUTHORIZATION = {"Authorization": f"Bearer {API_KEY}"}


@asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[tuple[int, asyncio.Event, "asyncio.Task[None]"]]:
    """The port, the event that stops the server, and the server."""
    port, stop, ready = free_port(), asyncio.Event(), asyncio.Event()
    server = asyncio.create_task(serve(app, HOST, port, ready.set, stop))
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait((server, waiting), timeout=10, return_when=asyncio.FIRST_COMPLETED)
    try:
        yield port, stop, server
    finally:
        stop.set()
        await asyncio.wait_for(server, 10)


async def test_answers_name_no_server_and_keep_the_headers(app: FastAPI) -> None:
    async with served(app) as (port, _, _), httpx2.AsyncClient(base_url=f"http://{HOST}:{port}") as client:
        response = await client.get("/livez")
        assert response.status_code == 200
        assert "server" not in response.headers
        assert response.headers["x-content-type-options"] == "nosniff"
        assert (await client.get("/api/v1/runs", headers={"X-Long": "a" * 40_000})).status_code == 431


async def test_an_open_stream_does_not_keep_the_server_from_stopping(app: FastAPI) -> None:
    async with (
        served(app) as (port, stop, server),
        httpx2.AsyncClient(base_url=f"http://{HOST}:{port}", headers=AUTHORIZATION) as client,
        client.stream("GET", "/api/v1/stream") as response,
    ):
        lines = response.aiter_lines()
        assert await anext(lines) == "retry: 1000"
        stop.set()
        await asyncio.wait_for(server, 2)
        assert [line async for line in lines if line] == []


async def test_a_body_that_never_comes_ends_with_408_and_a_closed_connection(installation: Installation) -> None:
    app = create_app(installation.services, RequestBounds(receive_seconds=0.1))
    head = f"POST /api/v1/workflows/nightly/run HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {API_KEY}\r\n"
    async with served(app) as (port, _, _):
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(f"{head}Content-Type: application/json\r\nContent-Length: 50\r\n\r\n{{".encode())
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
    assert answer.startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize(
    "headers",
    ["Content-Length: 5\r\nContent-Length: 6", "Content-Length: -1", "Content-Length: 2\r\nTransfer-Encoding: chunked"],
)
async def test_ambiguous_lengths_start_nothing(app: FastAPI, installation: Installation, headers: str) -> None:
    head = f"POST /api/v1/workflows/nightly/run HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {API_KEY}\r\n"
    async with served(app) as (port, _, _):
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(f"{head}Content-Type: application/json\r\n{headers}\r\n\r\n{{}}".encode())
        answer = await asyncio.wait_for(reader.readline(), 5)
        writer.close()
    assert b" 400 " in answer
    assert installation.commands("start_run") == []


async def test_a_head_that_never_ends_is_cut_off(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedProtocol, "head_seconds", 0.1)
    async with served(app) as (port, _, _):
        for sent, answered in ((b"", b"408"), (b"GET / HTTP/1.1\r\nX-A: b", b"408")):
            reader, writer = await asyncio.open_connection(HOST, port)
            writer.write(sent)
            assert answered in await asyncio.wait_for(reader.read(), 5)
            writer.close()


async def test_a_head_without_bound_is_cut_off(app: FastAPI) -> None:
    async with served(app) as (port, _, _):
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(b"GET / HTTP/1.1\r\nX-A: " + b"a" * 300_000)
        assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"HTTP/1.1 431")
        writer.close()


async def test_a_connection_that_is_used_again_is_bounded_again(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedProtocol, "head_seconds", 0.1)
    async with served(app) as (port, _, _):
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await asyncio.wait_for(reader.readuntil(b'{"status":"ok"}'), 5)).startswith(b"HTTP/1.1 200")
        writer.write(b"GET /livez HTTP/1.1\r\nHost:")
        assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.1 408")
        writer.close()


async def test_a_port_that_is_taken_is_said_in_one_sentence(app: FastAPI) -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(CannotListen, match=f"{HOST}:{port}"):
            await serve(app, HOST, port, None, asyncio.Event())
