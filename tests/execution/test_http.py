"""Requests as tasks: what is sent, what is made of the answer, and how much of it is read."""

import asyncio
import gzip
import json
import shutil
import ssl
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from scheduler_application.errors import Unavailable
from scheduler_domain.run.outcome import Failed, Outcome, Succeeded
from scheduler_infrastructure.execution.http import HttpExecutor
from scheduler_infrastructure.execution.output import MAX_OUTPUT_BYTES
from tests.support.attempts import CollectedLog, an_attempt

T = TypeVar("T")


class Server:
    """Answers every request with ``answer`` and keeps the ``requests``: first line, headers, body."""

    def __init__(self) -> None:
        self.answer = b"HTTP/1.1 204 No Content\r\n\r\n"
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.url = ""

    def answers(self, status: int, body: bytes = b"", **headers: str) -> None:
        lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.answer = "\r\n".join(lines).encode() + b"\r\n\r\n" + body

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                first, *lines = head.decode().strip().split("\r\n")
                headers = dict(line.lower().split(": ", 1) for line in lines)
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                self.requests.append((first, headers, body))
                writer.write(self.answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    yield made
    listening.close()
    await listening.wait_closed()


@pytest.fixture
async def http(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[HttpExecutor]:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    executor = HttpExecutor(allowed_networks=["127.0.0.0/8"])
    await executor.open()
    yield executor
    await executor.close()


async def run(http: HttpExecutor, folder: Path, settings: dict[str, Any], **changes: Any) -> Outcome:
    attempt = an_attempt("http", settings, folder, timeout=20.0, **changes)
    return await http.execute(attempt, CollectedLog())


def error_of(outcome: Outcome) -> tuple[str, bool]:
    assert isinstance(outcome, Failed), outcome
    return outcome.error.code, outcome.retryable


def output_of(outcome: Outcome) -> dict[str, Any]:
    assert isinstance(outcome, Succeeded), outcome
    assert isinstance(outcome.output, dict)
    assert len(json.dumps(outcome.output, ensure_ascii=False).encode()) <= MAX_OUTPUT_BYTES + 4096
    return outcome.output


async def test_the_request_carries_what_the_task_says_and_who_asks(
    http: HttpExecutor, server: Server, tmp_path: Path
) -> None:
    settings = {
        "method": "post",
        "url": f"{server.url}/a?x=1",
        "query": {"day": "2027-01-01", "tag": ["a", "b c"]},
        "headers": {"X-Token": "t", "X-Number": 5},
        "body": {"state": "ok"},
    }
    await run(http, tmp_path, settings, idempotency_key="once", env={"TRACEPARENT": "00-1-2-01"})
    first, headers, body = server.requests[0]
    assert first == "POST /a?x=1&day=2027-01-01&tag=a&tag=b+c HTTP/1.1"
    assert json.loads(body) == {"state": "ok"}
    expected = {"x-token": "t", "x-number": "5", "idempotency-key": "once", "traceparent": "00-1-2-01"}
    assert expected.items() <= headers.items()
    assert headers["content-type"] == "application/json"


async def test_a_header_of_the_task_wins(http: HttpExecutor, server: Server, tmp_path: Path) -> None:
    settings = {"method": "PUT", "url": server.url, "headers": {"Idempotency-Key": "mine"}, "body": "text"}
    await run(http, tmp_path, settings)
    _, headers, body = server.requests[0]
    assert (headers["idempotency-key"], body) == ("mine", b"text")


async def test_json_is_the_output_as_a_value(http: HttpExecutor, server: Server, tmp_path: Path) -> None:
    server.answers(200, b'{"rows": [1, 2]}', Content_Type="application/problem+json; charset=utf-8")
    output = output_of(await run(http, tmp_path, {"url": server.url}))
    assert (output["status"], output["body"]) == (200, {"rows": [1, 2]})
    assert "truncated" not in output


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        (b"", "text/plain", ""),
        (b"null", "application/json", None),
        (b"{broken", "application/json", "{broken"),
        (b'"\\u0000"', "application/json", '"\\u0000"'),
        (b"\x00\xff", "application/octet-stream", "\ufffd\ufffd"),
        ("ä".encode("latin-1"), "text/plain; charset=latin-1", "ä"),
        (b"x", "text/plain; charset=no-such", "x"),
    ],
)
async def test_other_bodies_are_text(
    http: HttpExecutor, server: Server, tmp_path: Path, body: bytes, content_type: str, expected: object
) -> None:
    server.answers(200, body, Content_Type=content_type)
    output = output_of(await run(http, tmp_path, {"url": server.url}))
    assert output["body"] == expected or (body == b"" and output["body"] in ("", None))


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"x" * 200_000, "text/plain"),
        (b"\x01" * 200_000, "text/plain"),
        (json.dumps(["y" * 100] * 2000).encode(), "application/json"),
        (("ä" * 100_000).encode(), "text/plain; charset=utf-8"),
    ],
)
async def test_a_long_body_is_cut_and_marked(
    http: HttpExecutor, server: Server, tmp_path: Path, body: bytes, content_type: str
) -> None:
    server.answers(200, body, Content_Type=content_type)
    output = output_of(await run(http, tmp_path, {"url": server.url}))
    assert output["truncated"] is True
    assert isinstance(output["body"], str)
    assert len(output["body"]) > 5000


async def test_many_headers_are_cut_and_marked(http: HttpExecutor, server: Server, tmp_path: Path) -> None:
    server.answers(200, b"", **{f"X_{number}": "v" * 200 for number in range(60)})
    assert output_of(await run(http, tmp_path, {"url": server.url}))["truncated"] is True


@pytest.mark.parametrize(
    ("status", "retryable"),
    [(301, False), (400, False), (404, False), (408, True), (425, True), (429, True), (500, True), (503, True)],
)
async def test_a_status_that_is_not_expected_fails(
    http: HttpExecutor, server: Server, tmp_path: Path, status: int, retryable: bool
) -> None:
    server.answers(status, b"because", Location="http://127.0.0.1:9/")
    outcome = await run(http, tmp_path, {"url": server.url})
    assert error_of(outcome) == ("http_status", retryable)
    assert isinstance(outcome, Failed)
    assert (outcome.error.http_status, outcome.error.detail) == (status, "because")
    assert len(server.requests) == 1


async def test_the_expected_statuses_are_the_tasks(http: HttpExecutor, server: Server, tmp_path: Path) -> None:
    server.answers(404)
    assert output_of(await run(http, tmp_path, {"url": server.url, "expect": {"status": [404]}}))["status"] == 404
    server.answers(200)
    assert error_of(await run(http, tmp_path, {"url": server.url, "expect": {"status": [404]}}))[0] == "http_status"


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_compressed_answers_are_read(http: HttpExecutor, server: Server, tmp_path: Path, encoding: str) -> None:
    packed = gzip.compress(b"hello" * 50) if encoding == "gzip" else zlib.compress(b"hello" * 50)
    server.answers(200, packed, Content_Encoding=encoding)
    assert output_of(await run(http, tmp_path, {"url": server.url}))["body"] == "hello" * 50


@pytest.mark.parametrize(
    ("body", "encoding", "code"),
    [
        (b"x" * (10 * 1024 * 1024 + 1), "identity", "response_too_large"),
        (gzip.compress(bytes(50 * 1024 * 1024)), "gzip", "response_too_large"),
        (gzip.compress(bytes(2 * 1024 * 1024)), "gzip", "response_too_large"),
        (b"not gzip", "gzip", "unreadable_response"),
        (b"x", "br", "unreadable_response"),
        (gzip.compress(gzip.compress(b"x")), "gzip, gzip", "unreadable_response"),
    ],
    ids=[
        "large",
        "large once unpacked",
        "small and large once unpacked",
        "not packed",
        "unknown encoding",
        "packed twice",
    ],
)
async def test_answers_beyond_the_bounds_are_refused(
    http: HttpExecutor, server: Server, tmp_path: Path, body: bytes, encoding: str, code: str
) -> None:
    server.answers(200, body, Content_Encoding=encoding)
    assert error_of(await run(http, tmp_path, {"url": server.url})) == (code, False)


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("ftp://example.com/", "unsupported_scheme"),
        ("file:///etc/passwd", "unsupported_scheme"),
        ("gopher://x/", "unsupported_scheme"),
        ("data:text/plain,x", "unsupported_scheme"),
        ("javascript:alert(1)", "unsupported_scheme"),
        ("//example.com/", "unsupported_scheme"),
        ("example.com", "unsupported_scheme"),
        ("", "unsupported_scheme"),
        ("http:/a", "invalid_url"),
        ("http://", "invalid_url"),
        ("http://.", "invalid_url"),
        ("http://a@b/", "invalid_url"),
        ("http://user:hunter2@example.com/", "invalid_url"),
        ("http://good\\@evil/", "invalid_url"),
        ("http://exam\tple.com/", "invalid_url"),
        ("http://example.com/\r\nHost: x", "invalid_url"),
        ("http://example.com/%0d%0aX: y", "invalid_url"),
        ("http://example.com:-1/", "invalid_url"),
        ("http://example.com:99999/", "invalid_url"),
        ("http://[::1", "invalid_url"),
        ("http://example.com/" + "a" * 3000, "invalid_url"),
    ],
)
async def test_addresses_that_cannot_be_meant_are_refused(
    http: HttpExecutor, tmp_path: Path, url: str, code: str
) -> None:
    outcome = await run(http, tmp_path, {"url": url})
    assert error_of(outcome) == (code, False)
    assert "hunter2" not in str(outcome)


@pytest.mark.parametrize(
    "settings",
    [
        {"headers": {"X": "a\r\nY: b"}},
        {"headers": {"X Y": "a"}},
        {"headers": {"X": "ä\u20ac"}},
        {"method": "CONNECT"},
        {"method": "GE T"},
        {"expect": {"status": ["2xx"]}},
        {"query": {"a": {"b": 1}}},
    ],
)
async def test_a_request_that_is_not_http_is_refused(
    http: HttpExecutor, server: Server, tmp_path: Path, settings: dict[str, Any]
) -> None:
    outcome = await run(http, tmp_path, {"url": server.url, **settings})
    assert error_of(outcome) == ("invalid_settings", False)
    assert server.requests == []


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "LOCALHOST.", "[::1]", "0.0.0.0", "127.1", "2130706433", "0x7f.1", "017700000001"],
)
async def test_this_machine_is_not_reached_unless_that_is_allowed(server: Server, tmp_path: Path, host: str) -> None:
    http = HttpExecutor()
    await http.open()
    port = server.url.rpartition(":")[2]
    outcome = await run(http, tmp_path, {"url": f"http://{host}:{port}/"})
    await http.close()
    assert error_of(outcome)[0] in {"address_not_allowed", "dns_error"}
    assert server.requests == []


async def test_a_name_that_is_not_there_is_a_dns_error(http: HttpExecutor, tmp_path: Path) -> None:
    async def nobody(host: str, port: int) -> list[str]:
        raise OSError("Name or service not known")

    executor = HttpExecutor(resolver=nobody)
    await executor.open()
    outcome = await run(executor, tmp_path, {"url": "http://nowhere.example/"})
    await executor.close()
    assert error_of(outcome) == ("dns_error", True)


async def test_a_closed_port_is_a_connect_error(http: HttpExecutor, tmp_path: Path) -> None:
    assert error_of(await run(http, tmp_path, {"url": "http://127.0.0.1:9/"})) == ("connect_error", True)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf", b"garbage\r\n\r\n"])
async def test_an_answer_that_breaks_off_may_be_tried_again(http: HttpExecutor, tmp_path: Path, answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    assert error_of(await run(http, tmp_path, {"url": f"http://127.0.0.1:{port}/"})) == ("connection_lost", True)
    listening.close()
    await listening.wait_closed()


async def test_cookies_are_not_carried_from_task_to_task(http: HttpExecutor, server: Server, tmp_path: Path) -> None:
    server.answers(200, b"", Set_Cookie="session=1")
    await run(http, tmp_path, {"url": server.url})
    await run(http, tmp_path, {"url": server.url})
    assert "cookie" not in server.requests[1][1]


async def test_an_open_circuit_refuses_without_asking(server: Server, tmp_path: Path) -> None:
    hosts = []

    async def guard(host: str, call: Callable[[], Awaitable[T]], /) -> T:
        hosts.append(host)
        if len(hosts) > 1:
            raise Unavailable("127.0.0.1 failed repeatedly")
        return await call()

    http = HttpExecutor(allowed_networks=["127.0.0.0/8"], guard=guard)
    await http.open()
    assert isinstance(await run(http, tmp_path, {"url": server.url}), Succeeded)
    assert error_of(await run(http, tmp_path, {"url": server.url})) == ("circuit_open", True)
    await http.close()
    assert hosts == ["127.0.0.1", "127.0.0.1"]
    assert len(server.requests) == 1


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
async def test_a_certificate_that_nobody_signed_is_a_tls_error(http: HttpExecutor, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    making = await asyncio.create_subprocess_exec(
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "1",
        "-keyout", str(key), "-out", str(certificate), stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert await making.wait() == 0
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    listening = await asyncio.start_server(Server().serve, "127.0.0.1", 0, ssl=context)
    port = listening.sockets[0].getsockname()[1]
    outcome = await run(http, tmp_path, {"url": f"https://127.0.0.1:{port}/"})
    listening.close()
    await listening.wait_closed()
    assert error_of(outcome) == ("tls_error", False)
    assert "self-signed" in str(outcome)
