"""Freeze windows over HTTP, in front of a real store."""

from datetime import timedelta
from typing import Any

import httpx2
import pytest

from tests.api.test_over_a_real_store import NEVER, api, contents, world
from tests.support.world import World

__all__ = ["api", "world"]


async def test_a_freeze_is_made_listed_and_lifted(api: httpx2.AsyncClient, world: World) -> None:
    ends_at = (world.clock.now() + timedelta(hours=5)).isoformat()
    made = await api.post("/freezes", json={"reason": "stock-taking", "ends_at": ends_at, "label": "payroll"})
    assert made.status_code == 201
    freeze = made.json()
    assert (freeze["label"], freeze["held"], freeze["lifted_at"]) == ("payroll", 0, None)
    assert (await api.get("/freezes")).json()["items"] == [freeze]
    assert (await api.get(f"/freezes/{freeze['id']}")).json() == freeze
    lifted = (await api.post(f"/freezes/{freeze['id']}/lift")).json()
    assert lifted["lifted_at"] is not None


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"ends_at": "2099-01-01T00:00:00Z"}, "missing_field"),
        ({"reason": "x"}, "missing_field"),
        ({"reason": "", "ends_at": "2099-01-01T00:00:00Z"}, "too_short"),
        ({"reason": "x", "ends_at": "tomorrow"}, "invalid_instant"),
        ({"reason": "x", "ends_at": "2099-01-01T00:00:00"}, "invalid_instant"),
        ({"reason": "x", "ends_at": 5}, "string_expected"),
        ({"reason": "x", "ends_at": "2020-01-01T00:00:00Z"}, "invalid_window"),
        ({"reason": "x", "ends_at": "2026-11-02T10:00:00Z", "label": "no label"}, "invalid_label"),
        ({"reason": "x", "ends_at": "2026-11-02T10:00:00Z", "who": "me"}, "unknown_field"),
    ],
)
async def test_a_wrong_freeze_changes_nothing(
    api: httpx2.AsyncClient, world: World, body: dict[str, Any], code: str
) -> None:
    before = await contents(world)
    answer = await api.post("/freezes", json=body)
    assert answer.status_code == 422
    problem = answer.json()
    assert code in [problem["code"], *(error["code"] for error in problem.get("errors", []))]
    assert await contents(world) == before


@pytest.mark.parametrize("freeze", [NEVER, "1", "x" * 300])
async def test_a_freeze_that_is_not_there_is_404(api: httpx2.AsyncClient, freeze: str) -> None:
    assert (await api.get(f"/freezes/{freeze}")).status_code == 404
    assert (await api.post(f"/freezes/{freeze}/lift")).status_code == 404
