"""A write that comes twice under one key happens once."""

import httpx2
import pytest

from scheduler_application.errors import Conflict, Unavailable
from scheduler_application.run.start import StartedRun
from tests.api.fakes import RUN_ID, Installation

RUN = "/api/v1/workflows/nightly/run"
CANCEL = f"/api/v1/runs/{RUN_ID}/cancel"
KEY = {"Idempotency-Key": "k1"}


async def test_a_write_under_a_known_key_gives_the_first_answer_again(
    client: httpx2.AsyncClient, installation: Installation
) -> None:
    first = await client.post(CANCEL, headers=KEY)
    second = await client.post(CANCEL, headers=KEY)
    assert (second.status_code, second.content) == (first.status_code, first.content)
    assert second.headers["idempotent-replayed"] == "true"
    assert len(installation.commands("cancel_run")) == 1


async def test_a_key_that_comes_with_another_request_is_422(client: httpx2.AsyncClient) -> None:
    assert (await client.post(CANCEL, headers=KEY)).status_code == 202
    for path, body in ((CANCEL, {}), ("/api/v1/workflows/nightly/disable", None)):
        response = (
            await client.post(path, json=body, headers=KEY)
            if body is not None
            else await client.post(path, headers=KEY)
        )
        assert (response.status_code, response.json()["code"]) == (422, "idempotency_mismatch")


async def test_a_key_whose_first_request_is_under_way_is_409(
    client: httpx2.AsyncClient, installation: Installation
) -> None:
    installation.answers("cancel_run", Unavailable("the store does not answer"))
    assert (await client.post(CANCEL, headers=KEY)).status_code == 503
    response = await client.post(CANCEL, headers=KEY)
    assert (response.status_code, response.json()["code"]) == (409, "idempotency_in_progress")
    assert response.headers["retry-after"] == "1"


async def test_a_refusal_frees_the_key(client: httpx2.AsyncClient, installation: Installation) -> None:
    installation.answers("cancel_run", Conflict("finished", code="already_finished"))
    assert (await client.post(CANCEL, headers=KEY)).status_code == 409
    response = await client.post(CANCEL, headers=KEY)
    assert response.json()["code"] == "already_finished"
    assert len(installation.commands("cancel_run")) == 2


@pytest.mark.parametrize("key", ["", "k" * 256, "tab\there", "é"])
async def test_a_key_that_is_not_printable_or_too_long_is_400(client: httpx2.AsyncClient, key: str) -> None:
    for path in (CANCEL, RUN):
        response = await client.post(path, headers={b"Idempotency-Key": key.encode("latin-1")})
        assert (response.status_code, response.json()["code"]) == (400, "invalid_idempotency_key")


async def test_starting_a_run_hands_the_key_to_its_transaction(
    client: httpx2.AsyncClient, installation: Installation
) -> None:
    bodies: list[dict[str, object]] = [{}, {}, {"inputs": {"a": 1}}]
    for body in bodies:
        await client.post(RUN, json=body, headers=KEY)
    commands = installation.commands("start_run")
    assert {command.idempotency_key for command in commands} == {"k1"}
    assert commands[0].request_hash == commands[1].request_hash != commands[2].request_hash
    assert installation.use_cases.made["idempotency_keys"].kept == {}


async def test_a_run_that_was_started_before_is_marked(client: httpx2.AsyncClient, installation: Installation) -> None:
    installation.answers("start_run", StartedRun(RUN_ID, "running", replayed=True))
    response = await client.post(RUN, headers=KEY)
    assert response.headers["idempotent-replayed"] == "true"


async def test_reads_ignore_a_key(client: httpx2.AsyncClient, installation: Installation) -> None:
    assert (await client.get("/api/v1/runs", headers=KEY)).status_code == 200
    assert installation.use_cases.made["idempotency_keys"].kept == {}
