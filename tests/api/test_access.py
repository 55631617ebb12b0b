"""Who may use what: every route is guarded unless its object says that it is public."""

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from scheduler_api.main import create_app
from scheduler_api.routing import Access, check_access
from tests.api.fakes import ALERT_ID, API_KEY, BACKFILL_ID, RUN_ID, TASK_RUN_ID, TOKEN, WORKER_ID, Installation

PUBLIC = {"/", "/livez", "/readyz", "/health", "/metrics"}
BY_TOKEN = {"/heartbeat/{token}", "/heartbeat/{token}/start", "/heartbeat/{token}/fail"}
RANDOM = "01990000-0000-7000-8000-0000000000ff"


def _routes(*access: Access) -> list[tuple[str, str]]:
    """(method, address) of the routes with one of these kinds of access."""
    app = create_app(Installation().services)
    names = {"run": RUN_ID, "task_run": TASK_RUN_ID, "worker": WORKER_ID, "workflow": "nightly", "number": "1"}
    names |= {"task": "load", "trigger": "manual", "freeze": RANDOM, "backfill": BACKFILL_ID, "calendar": "closed"}
    names |= {"alert": ALERT_ID, "heartbeat": "backup", "token": TOKEN}
    return [
        (method, route.path.format(**names))
        for route in app.router.routes
        if isinstance(route, APIRoute) and getattr(route, "access", None) in access
        for method in sorted(route.methods or ())
    ]


def test_only_these_routes_need_no_credential() -> None:
    app = create_app(Installation().services)
    found: dict[Access, set[str]] = {access: set() for access in Access}
    for route in app.router.routes:
        found[getattr(route, "access")].add(getattr(route, "path", ""))  # noqa: B009 - not every route has one
    assert (found[Access.PUBLIC], found[Access.UNGUESSABLE]) == (PUBLIC, BY_TOKEN)


def test_a_route_that_does_not_declare_its_access_keeps_the_application_from_starting(app: FastAPI) -> None:
    app.add_api_route("/open", lambda: None)
    with pytest.raises(RuntimeError, match="/open does not declare its access"):
        check_access(app)


async def test_the_check_runs_when_the_application_starts(app: FastAPI) -> None:
    app.add_api_route("/open", lambda: None)
    with pytest.raises(RuntimeError, match="/open"):
        async with app.router.lifespan_context(app):
            raise AssertionError("the application started")


@pytest.mark.parametrize(("method", "path"), _routes(Access.PUBLIC, Access.UNGUESSABLE))
async def test_who_has_the_address_of_a_public_route_or_a_token_needs_no_credential(
    stranger: httpx2.AsyncClient, method: str, path: str
) -> None:
    assert (await stranger.request(method, path)).status_code == 200


@pytest.mark.parametrize("bad", ["x", TOKEN + "x", TOKEN[:-1], TOKEN.upper(), "orh_" + "u" * 43, "a" * 2_000, API_KEY])
@pytest.mark.parametrize("end", ["", "/start", "/fail"])
async def test_any_other_token_names_nothing_in_the_same_words(
    stranger: httpx2.AsyncClient, bad: str, end: str
) -> None:
    response = await stranger.post(f"/heartbeat/{bad}{end}")
    assert (response.status_code, response.json()["code"]) == (404, "not_found")
    assert response.json()["detail"] == "there is no such heartbeat"


async def test_the_token_of_a_ping_opens_nothing_else(stranger: httpx2.AsyncClient) -> None:
    response = await stranger.get("/api/v1/heartbeats", headers={"Authorization": f"Bearer {TOKEN}"})
    assert (response.status_code, response.json()["code"]) == (401, "invalid_key")


@pytest.mark.parametrize(("method", "path"), _routes(Access.CREDENTIAL))
async def test_every_other_route_needs_a_credential(stranger: httpx2.AsyncClient, method: str, path: str) -> None:
    response = await stranger.request(method, path)
    assert (response.status_code, response.json()["code"]) == (401, "missing_credential")
    assert response.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(("method", "path"), _routes(Access.CREDENTIAL))
async def test_every_guarded_route_refuses_a_wrong_key(stranger: httpx2.AsyncClient, method: str, path: str) -> None:
    response = await stranger.request(method, path, headers={"Authorization": "Bearer " + "x" * 60})
    assert (response.status_code, response.json()["code"]) == (401, "invalid_key")


@pytest.mark.parametrize("suffix", ["livez", "health", "readyz", "login", "docs", "configs", "metrics", "xhealth"])
async def test_a_name_that_looks_public_is_not(stranger: httpx2.AsyncClient, suffix: str) -> None:
    assert (await stranger.get(f"/api/v1/workflows/{suffix}")).status_code == 401
    assert (await stranger.post(f"/api/v1/workflows/{suffix}/run", json={})).status_code == 401


@pytest.mark.parametrize(
    "credential",
    [
        "Basic YWRtaW46YWRtaW4=",
        f"bearer{API_KEY}",
        "Bearer",
        "Bearer ",
        "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.",
        "Bearer " + "k" * 10_000,
        "Bearer é",
        API_KEY,
    ],
)
async def test_any_other_credential_is_401(stranger: httpx2.AsyncClient, credential: str) -> None:
    headers = {b"Authorization": credential.encode("latin-1")}
    response = await stranger.get("/api/v1/workflows", headers=headers)
    assert (response.status_code, response.json()["code"]) == (401, "invalid_key")
    assert response.headers["www-authenticate"].startswith("Bearer")


async def test_the_scheme_is_not_case_sensitive(stranger: httpx2.AsyncClient) -> None:
    assert (await stranger.get("/api/v1/runs", headers={"Authorization": f"bEARER {API_KEY}"})).status_code == 200


async def test_two_credentials_are_none(stranger: httpx2.AsyncClient) -> None:
    headers = [("Authorization", f"Bearer {API_KEY}"), ("Authorization", f"Bearer {API_KEY}")]
    assert (await stranger.get("/api/v1/runs", headers=headers)).status_code == 401


@pytest.mark.parametrize("name", ["token", "api_key", "access_token"])
async def test_a_credential_in_the_address_is_400(stranger: httpx2.AsyncClient, name: str) -> None:
    response = await stranger.get(f"/api/v1/runs?{name}={API_KEY}")
    assert (response.status_code, response.json()["code"]) == (400, "token_in_url")
    assert API_KEY not in response.text


@pytest.mark.parametrize("project", ["other", "", RANDOM, "DEFAULT"])
async def test_another_project_is_as_absent_as_none(client: httpx2.AsyncClient, project: str) -> None:
    response = await client.get(f"/api/v1/runs?project={project}")
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


async def test_the_own_project_may_be_named(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/api/v1/runs?project=default")).status_code == 200


async def test_headers_of_proxies_change_nothing(client: httpx2.AsyncClient) -> None:
    names = ("X-Tenant-Id", "X-User-Id", "X-Forwarded-User", "X-Original-URL", "X-Rewrite-URL")
    response = await client.get("/api/v1/workflows/nightly", headers=dict.fromkeys(names, "/api/v1/runs"))
    assert response.json()["name"] == "nightly"


_BAD_IDS = ["1", "abc", "{" + RUN_ID + "}", RUN_ID + "0", RUN_ID[:-1], "0" * 5_000, RUN_ID.replace("-", "")]


@pytest.mark.parametrize("bad", [RANDOM, *_BAD_IDS])
@pytest.mark.parametrize("path", ["/runs/{}", "/runs/{}/task-runs", "/runs/{}/logs", "/task-runs/{}"])
async def test_an_id_that_names_nothing_is_404_in_the_same_words(
    client: httpx2.AsyncClient, path: str, bad: str
) -> None:
    response = await client.get("/api/v1" + path.format(bad))
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


async def test_an_id_in_upper_case_is_the_same_id(client: httpx2.AsyncClient) -> None:
    response = await client.get(f"/api/v1/runs/{RUN_ID.upper()}")
    assert response.json()["id"] == RUN_ID
