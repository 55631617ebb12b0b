"""What is turned away before any route sees it, and what every answer carries."""

from collections.abc import AsyncIterator

import httpx2
import pytest
from fastapi import FastAPI

from scheduler_api.limits import RequestBounds
from scheduler_api.main import create_app
from scheduler_application.errors import Unavailable
from tests.api.asgi import Exchange
from tests.api.fakes import Installation

RUN = "/api/v1/workflows/nightly/run"
JSON = {"Content-Type": "application/json"}


def problem(response: httpx2.Response, status: int, code: str) -> dict[str, object]:
    """The body of a refusal, after checking that it keeps the contract of every refusal."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, object] = response.json()
    assert body["code"] == code
    assert body["status"] == status
    assert list(body) == ["type", "title", "status", "code", "detail", "errors", "request_id"]
    assert response.headers["x-request-id"] == body["request_id"]
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in response.headers["content-security-policy"]
    return body


@pytest.mark.parametrize(
    "path",
    [
        "//api/v1/runs",
        "/api/v1/runs/",
        "/API/V1/runs",
        "/api/v1//runs",
        "/api/v1/x",
        "/api/v1/runs;a=b",
        "/api/v1/runs%00",
        "/api/v1/%2e%2e%2fruns",
        "/api/v1/x%2f..%2fruns",
        "/api/v1/workflows/nightly%2fruns",
        "/api/v1/runs%5c",
        "/api/v1/workflows/%C3%A9",
        "/docs",
        "/redoc",
        "/openapi.json",
        "/.env",
    ],
)
async def test_an_address_that_is_not_exactly_a_route_is_404(client: httpx2.AsyncClient, path: str) -> None:
    problem(await client.get(httpx2.URL(f"http://orrery.test{path}")), 404, "not_found")


@pytest.mark.parametrize("path", ["/api/v1/./runs", "/api/v1/x/../runs", "/api/v1/workflows/../runs"])
async def test_dot_segments_are_not_resolved(app: FastAPI, path: str) -> None:
    assert await Exchange(app, "GET", path).status() == 404


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/secrets",
        "/api/v1/auth/token",
        "/api/v1/events/abc/replay",
        "/api/v1/task-runs/01990000-0000-7000-8000-00000000000b/approve",
        "/webhooks/github",
        "/webhook/sales",
    ],
)
async def test_what_the_interface_promises_for_later_is_refused_by_name(client: httpx2.AsyncClient, path: str) -> None:
    problem(await client.post(path), 404, "not_available_yet")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("TRACE", "/api/v1/workflows", "GET, HEAD, POST"),
        ("FOO", "/api/v1/runs", "GET, HEAD"),
        ("PUT", RUN, "POST"),
        ("DELETE", "/api/v1/workflows/nightly/tasks", "POST"),
        ("PATCH", "/api/v1/workflows/nightly", "DELETE, GET, HEAD, PUT"),
        ("POST", "/livez", "GET, HEAD"),
    ],
)
async def test_another_method_is_405_and_says_which_are_taken(
    client: httpx2.AsyncClient, method: str, path: str, allowed: str
) -> None:
    response = await client.request(method, path)
    problem(response, 405, "method_not_allowed")
    assert response.headers["allow"] == allowed


async def test_a_method_override_is_ignored(client: httpx2.AsyncClient, installation: Installation) -> None:
    response = await client.get("/api/v1/workflows/nightly", headers={"X-HTTP-Method-Override": "DELETE"})
    assert response.status_code == 200
    assert installation.commands("delete_workflow") == []


async def test_head_answers_like_get_without_a_body(client: httpx2.AsyncClient) -> None:
    response = await client.head("/api/v1/workflows")
    assert (response.status_code, response.content) == (200, b"")
    assert (await client.head("/api/v1/stream")).status_code == 200


async def test_a_body_over_the_limit_is_413_whether_its_length_is_known_or_not(client: httpx2.AsyncClient) -> None:
    body = b" " * (1024 * 1024 + 1)
    known = problem(await client.post(RUN, content=body, headers=JSON), 413, "body_too_large")
    assert "1048576 bytes" in str(known["detail"])

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 65_536):
            yield body[start : start + 65_536]

    problem(await client.post(RUN, content=chunks(), headers=JSON), 413, "body_too_large")


async def test_a_body_of_exactly_the_limit_is_read(client: httpx2.AsyncClient) -> None:
    body = b'{"inputs":{}}'.ljust(1024 * 1024)
    assert (await client.post(RUN, content=body, headers=JSON)).status_code == 202


async def test_a_body_that_stalls_is_408_and_the_connection_is_closed(installation: Installation) -> None:
    app = create_app(installation.services, RequestBounds(receive_seconds=0.05))
    headers = [(b"content-length", b"100"), (b"content-type", b"application/json")]
    exchange = Exchange(app, "POST", RUN, headers=headers, chunks=[b'{"inputs"'], stalls=True)
    assert await exchange.status() == 408
    assert exchange.headers["connection"] == "close"
    assert b"request_timeout" in await exchange.rest()
    assert installation.commands("start_run") == []


async def test_a_caller_that_leaves_in_the_middle_of_its_body_starts_nothing(
    app: FastAPI, installation: Installation
) -> None:
    headers = [(b"content-length", b"100"), (b"content-type", b"application/json")]
    exchange = Exchange(app, "POST", RUN, headers=headers, chunks=[b'{"inputs"'], stalls=True)
    await exchange.leave()
    assert installation.commands("start_run") == []


@pytest.mark.parametrize("length", [b"-1", b"+5", b"0x5", b"", b"1" * 30])
async def test_a_length_that_is_no_number_is_400(app: FastAPI, length: bytes) -> None:
    assert await Exchange(app, "POST", RUN, headers=[(b"content-length", length)]).status() == 400


@pytest.mark.parametrize("encoding", ["gzip", "br", "gzip, gzip", "deflate"])
async def test_compressed_bodies_are_415(client: httpx2.AsyncClient, encoding: str) -> None:
    response = await client.post(RUN, content=b"\x1f\x8b" + b"\0" * 100, headers={**JSON, "Content-Encoding": encoding})
    problem(response, 415, "unsupported_content_encoding")


@pytest.mark.parametrize("headers", [{"X-Long": "a" * 40_000}, {f"X-{n}": "a" for n in range(101)}])
async def test_too_many_or_too_long_headers_are_431(client: httpx2.AsyncClient, headers: dict[str, str]) -> None:
    problem(await client.get("/api/v1/runs", headers=headers), 431, "headers_too_large")


@pytest.mark.parametrize("path", ["/api/v1/runs?cursor=" + "a" * 70_000, "/api/v1/" + "a" * 70_000])
async def test_an_address_of_70_kb_is_414(app: FastAPI, path: str) -> None:
    exchange = Exchange(app, "GET", path)
    assert await exchange.status() == 414
    assert b"uri_too_long" in await exchange.rest()


@pytest.mark.parametrize("content_type", ["text/plain", "multipart/form-data", "", "application/json; charset=utf-16"])
async def test_a_body_of_another_type_is_415(client: httpx2.AsyncClient, content_type: str) -> None:
    response = await client.post(RUN, content=b"{}", headers={"Content-Type": content_type})
    problem(response, 415, "unsupported_media_type")


@pytest.mark.parametrize("given", ["a" * 10_000, "a b", "a\tb", "", "é"])
async def test_a_request_id_that_is_not_plain_is_replaced(stranger: httpx2.AsyncClient, given: str) -> None:
    response = await stranger.get("/livez", headers={b"X-Request-Id": given.encode("latin-1")})
    assert len(response.headers["x-request-id"]) == 36


async def test_a_plain_request_id_is_kept(stranger: httpx2.AsyncClient) -> None:
    response = await stranger.get("/livez", headers={"X-Request-Id": "build-42.a_b"})
    assert response.headers["x-request-id"] == "build-42.a_b"


async def test_requests_over_the_bound_of_a_process_are_503(installation: Installation) -> None:
    app = create_app(installation.services, RequestBounds(in_flight=1))
    first = Exchange(app, "GET", "/api/v1/stream")
    assert await first.status() == 200
    second = Exchange(app, "GET", "/api/v1/runs")
    assert await second.status() == 503
    assert second.headers["retry-after"] == "1"
    await first.leave()


async def test_what_nobody_foresaw_is_500_and_tells_nothing(
    client: httpx2.AsyncClient, installation: Installation
) -> None:
    installation.answers("start_run", ZeroDivisionError("select secret from /srv/x.py"))
    body = problem(await client.post(RUN, json={}), 500, "internal")
    assert "secret" not in str(body)


async def test_a_dependency_that_does_not_answer_is_503_with_retry_after(
    client: httpx2.AsyncClient, installation: Installation
) -> None:
    installation.answers("start_run", Unavailable("the store does not answer", retry_after=2.5))
    response = await client.post(RUN, json={})
    problem(response, 503, "unavailable")
    assert response.headers["retry-after"] == "3"
    installation.answers("start_run", TimeoutError())
    problem(await client.post(RUN, json={}), 503, "unavailable")


async def test_echoed_input_has_no_control_characters_and_is_short(client: httpx2.AsyncClient) -> None:
    response = await client.post(RUN, json={"\x1b[2J" + "x" * 5_000: 1})
    body = problem(response, 422, "unknown_field")
    assert "\x1b" not in str(body)
    assert len(response.text) < 1_500
