"""Whatever is sent, the answer is a known one: never an error of the server's own, never without its headers."""

import asyncio
from typing import Any

import httpx2
from fastapi.routing import APIRoute
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scheduler_api.main import create_app
from tests.api.fakes import API_KEY, RUN_ID, TOKEN, Installation

_APP = create_app(Installation().services)
_TEMPLATES = sorted({route.path for route in _APP.router.routes if isinstance(route, APIRoute)} - {"/api/v1/stream"})
_NAMES = st.sampled_from(
    ["nightly", "unknown", RUN_ID, "backup", TOKEN, "..", "%00", "%ff", "a" * 300, "é", "-", "%F0%9F%92%A9"]
)
_METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
_QUERIES = st.text(st.sampled_from("abclimtcursor=&%0fF+;[]\"'<>-T:Z"), max_size=40)
_BODIES = st.one_of(
    st.binary(max_size=50),
    st.text(st.sampled_from('{}[]",:0123456789.eE-+ntfalsru\\ \n'), max_size=60).map(str.encode),
    st.sampled_from(
        [b"{}", b'{"inputs":{}}', b'{"items":[{"workflow":"nightly"}]}', b'{"inputs":{"a":1e999}}', b"null"]
    ),
)
_TYPES = st.sampled_from(["application/json", "application/yaml", "text/plain", "", "application/json; charset=latin1"])
_KEYS = st.sampled_from([None, "k", "", "k" * 300])


@st.composite
def _requests(draw: st.DrawFn) -> dict[str, Any]:
    parts = [draw(_NAMES) if part.startswith("{") else part for part in draw(st.sampled_from(_TEMPLATES)).split("/")]
    headers = {"Content-Type": draw(_TYPES), "Authorization": f"Bearer {API_KEY}"}
    key = draw(_KEYS)
    if key is not None:
        headers["Idempotency-Key"] = key
    url = httpx2.URL("http://orrery.test" + "/".join(parts), query=draw(_QUERIES).encode())
    return {"method": draw(_METHODS), "url": url, "content": draw(_BODIES), "headers": headers}


async def _send(request: dict[str, Any]) -> httpx2.Response:
    app = create_app(Installation().services)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app)) as client:
        return await client.request(**request)


@given(_requests())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_request_gets_an_answer_of_the_contract(request: dict[str, Any]) -> None:
    response = asyncio.run(_send(request))
    assert response.status_code < 500
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["x-request-id"]
    if response.status_code >= 400 and request["method"] != "HEAD":
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["status"] == response.status_code
