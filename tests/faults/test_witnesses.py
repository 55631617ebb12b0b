"""The effect server's book, the client's journal and the task's side of both."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from faults.effects import EffectBook, EffectServer, read_effects
from faults.journal import Journal, read_journal

WHO = {"run_id": "r", "task": "t", "attempt": 1}


@pytest.fixture
def book(tmp_path: Path) -> Iterator[EffectBook]:
    made = EffectBook(tmp_path / "effects.db")
    yield made
    made.close()


def test_a_fence_below_the_largest_is_refused_and_written_down(book: EffectBook, tmp_path: Path) -> None:
    answers = [book.note("effect", WHO | {"fence": fence}) for fence in (1, 2, 1, 2)]
    assert answers == [True, True, False, True]
    assert [(row.fence, row.accepted) for row in read_effects(tmp_path / "effects.db")] == [
        (1, True),
        (2, True),
        (1, False),
        (2, True),
    ]


def test_fences_of_other_tasks_and_items_are_their_own(book: EffectBook) -> None:
    assert book.note("effect", WHO | {"fence": 5})
    assert book.note("effect", WHO | {"fence": 1, "item": 3})
    assert book.note("effect", WHO | {"fence": 1, "task": "u"})


def test_a_request_without_a_fence_is_known_by_its_key(tmp_path: Path) -> None:
    with EffectServer(tmp_path) as server:
        answer = httpx2.post(f"{server.url}/effect", json={}, headers={"Idempotency-Key": "r/t/4"}, timeout=10)
        assert answer.json() == {"accepted": True}
        stale = [httpx2.post(f"{server.url}/effect", json=WHO | {"fence": f}, timeout=10).status_code for f in (2, 1)]
        (first, *_) = server.rows()
    assert (first.run_id, first.task, first.item, first.fence) == ("r", "t", 4, None)
    assert stale == [200, 409]


async def test_the_journal_has_what_was_asked_before_the_answer_came(tmp_path: Path) -> None:
    file = tmp_path / "journal"

    def answer(request: httpx2.Request) -> httpx2.Response:
        # The request is on its way: its line is on disk, and says nothing of an answer.
        (asked,) = read_journal(file)
        assert (asked.path, asked.key, asked.status, asked.problem) == ("/run", "k", None, None)
        return httpx2.Response(503, json={"code": "unavailable"}, headers={"Retry-After": "1"})

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer), base_url="http://api") as client:
        with Journal(file) as journal:
            told = await journal.ask(client, "POST", "/run", key="k", body={"a": 1})
    assert read_journal(file) == [told]
    assert (told.status, told.retry_after, told.body, told.run_id) == (503, "1", {"a": 1}, None)


async def test_a_request_that_breaks_is_in_the_journal_with_the_reason(tmp_path: Path) -> None:
    def break_off(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ReadError("reset by peer")

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(break_off), base_url="http://api") as client:
        with Journal(tmp_path / "journal") as journal:
            told = await journal.ask(client, "POST", "/run")
    assert (told.status, told.problem) == (None, "ReadError: reset by peer")


def test_a_request_whose_answer_never_came_is_in_the_journal_too(tmp_path: Path) -> None:
    file = tmp_path / "journal"
    asked = {"number": 1, "at": 1.0, "method": "POST", "path": "/run", "key": None, "body": {}}
    file.write_text(json.dumps(asked) + "\n")
    (exchange,) = read_journal(file)
    assert (exchange.status, exchange.problem, exchange.run_id) == (None, None, None)
