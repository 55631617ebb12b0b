"""How long a key is trusted, and how often the store is asked for it."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from scheduler_application.access import ASKED_AGAIN_SECONDS, KNOWN_FOR_SECONDS, Authenticate, NewApiKey, new_api_key
from scheduler_application.errors import InvalidCredential, Unavailable
from scheduler_application.ports.persistence import Store
from scheduler_domain.ids import DEFAULT_PROJECT
from tests.support.clock import ManualClock

BEFORE_RENEWAL = KNOWN_FOR_SECONDS - ASKED_AGAIN_SECONDS


class Keys:
    """A `Store` with one key, which answers when it is let."""

    def __init__(self, key: NewApiKey) -> None:
        self.stored: tuple[str, str] | None = (key.secret_hash, DEFAULT_PROJECT)
        self.failure: Exception | None = None
        self.asked = 0
        self.answers = asyncio.Event()
        self.answers.set()
        self.was_asked = asyncio.Event()

    async def transact(self, work: Callable[[Any], Any]) -> Any:
        del work
        self.asked += 1
        self.was_asked.set()
        stored = self.stored
        await self.answers.wait()
        if self.failure is not None:
            raise self.failure
        return stored


KEY = new_api_key()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def keys() -> Keys:
    return Keys(KEY)


@pytest.fixture
def authenticate(keys: Keys, clock: ManualClock) -> Authenticate:
    return Authenticate(cast("Store", keys), clock)


async def asked_in_background(authenticate: Authenticate) -> None:
    while authenticate._asking:
        await asyncio.wait(authenticate._asking.values())


async def test_all_who_come_at_once_share_one_question(authenticate: Authenticate, keys: Keys) -> None:
    actors = await asyncio.gather(*(authenticate.execute(KEY.text) for _ in range(50)))
    assert {actor.principal for actor in actors} == {f"key:{KEY.id}"}
    assert keys.asked == 1


async def test_one_who_goes_away_takes_the_answer_from_nobody(authenticate: Authenticate, keys: Keys) -> None:
    keys.answers.clear()
    first, second = (asyncio.create_task(authenticate.execute(KEY.text)) for _ in range(2))
    await keys.was_asked.wait()
    first.cancel()
    keys.answers.set()
    assert (await second).principal == f"key:{KEY.id}"
    assert keys.asked == 1


async def test_a_key_in_use_is_renewed_while_nobody_waits(
    authenticate: Authenticate, keys: Keys, clock: ManualClock
) -> None:
    await authenticate.execute(KEY.text)
    clock.advance(BEFORE_RENEWAL)
    keys.answers.clear()
    await asyncio.wait_for(asyncio.gather(*(authenticate.execute(KEY.text) for _ in range(50))), 10)
    keys.answers.set()
    await asked_in_background(authenticate)
    assert keys.asked == 2
    clock.advance(BEFORE_RENEWAL - 0.1)  # Longer than the first answer holds.
    await authenticate.execute(KEY.text)
    assert keys.asked == 2


async def test_a_revoked_key_is_refused_at_the_latest_when_its_time_is_over(
    authenticate: Authenticate, keys: Keys, clock: ManualClock
) -> None:
    await authenticate.execute(KEY.text)
    keys.stored = None
    clock.advance(KNOWN_FOR_SECONDS)
    with pytest.raises(InvalidCredential):
        await authenticate.execute(KEY.text)


async def test_a_revoked_key_is_refused_once_its_renewal_has_said_so(
    authenticate: Authenticate, keys: Keys, clock: ManualClock
) -> None:
    await authenticate.execute(KEY.text)
    keys.stored = None
    clock.advance(BEFORE_RENEWAL)
    await authenticate.execute(KEY.text)
    await asked_in_background(authenticate)
    with pytest.raises(InvalidCredential):
        await authenticate.execute(KEY.text)


async def test_an_answer_counts_from_the_question(authenticate: Authenticate, keys: Keys, clock: ManualClock) -> None:
    keys.answers.clear()
    waiting = asyncio.create_task(authenticate.execute(KEY.text))
    await keys.was_asked.wait()
    clock.advance(KNOWN_FOR_SECONDS)
    keys.answers.set()
    await waiting
    await authenticate.execute(KEY.text)
    assert keys.asked == 2


async def test_a_store_that_is_away_shortens_no_trust_and_lengthens_none(
    authenticate: Authenticate, keys: Keys, clock: ManualClock
) -> None:
    await authenticate.execute(KEY.text)
    keys.failure = Unavailable("the store is away")
    clock.advance(BEFORE_RENEWAL)
    await authenticate.execute(KEY.text)
    await asked_in_background(authenticate)
    await authenticate.execute(KEY.text)
    clock.advance(ASKED_AGAIN_SECONDS)
    with pytest.raises(Unavailable):
        await authenticate.execute(KEY.text)


@pytest.mark.parametrize(
    "text",
    ["", "ork_x", KEY.text[:-1] + ("0" if KEY.text[-1] != "0" else "1")],
    ids=["empty", "without parts", "with a wrong checksum"],
)
async def test_a_malformed_key_costs_no_question(authenticate: Authenticate, keys: Keys, text: str) -> None:
    with pytest.raises(InvalidCredential):
        await authenticate.execute(text)
    assert keys.asked == 0
