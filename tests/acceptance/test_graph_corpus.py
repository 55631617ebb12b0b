"""Real workflows' graphs, run to the end in one process: every task once, and never before what it needs."""

import asyncio
import json
import time
from collections import defaultdict
from typing import Any

import pytest

from tests.acceptance.conftest import CODE
from tests.support.corpus import GRAPHS, as_document, names_at_fault, needs_corpus, task_key
from tests.support.eventually import eventually
from tests.support.stack import Stack

pytestmark = needs_corpus

SENDERS = 4
FINISHED_SECONDS = 150.0


@pytest.mark.timeout(300)
async def test_every_valid_graph_runs_to_the_end_and_every_other_is_refused(embedded: Stack) -> None:
    await embedded.start("up", LOG_LEVEL="warning").ready()
    valid = {f"graph-{place}": graph for place, graph in enumerate(GRAPHS) if not names_at_fault(graph)}
    refused = [graph for graph in GRAPHS if names_at_fault(graph)]
    assert (len(valid), len(refused)) == (110, 3)

    started = time.monotonic()
    await _send(embedded, {name: _document(name, graph) for name, graph in valid.items()})
    deployed = time.monotonic()
    runs = await _start(embedded, list(valid))

    async def all_ended() -> bool:
        return not await embedded.rows("select 1 from runs where finished_at is null limit 1")

    await eventually(all_ended, within=FINISHED_SECONDS)
    ended = time.monotonic()
    await _refuse(embedded, refused)

    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in await embedded.rows("select run_id, task, state, claim_no, started_at, finished_at from task_runs"):
        rows[row["run_id"]].append(row)
    for name, graph in valid.items():
        _check(graph, rows[runs[name]])
    states = await embedded.rows("select distinct state from runs")
    assert [row["state"] for row in states] == ["succeeded"]
    tasks = sum(map(len, rows.values()))
    (largest,) = await embedded.rows(
        "select tasks_total, (julianday(finished_at) - julianday(started_at)) * 86400 as seconds from runs"
        " order by tasks_total desc limit 1"
    )
    print(
        f"\n{len(valid)} graphs deployed in {deployed - started:.1f} s; {tasks} tasks ran in {ended - deployed:.1f} s"
        f" ({tasks / (ended - deployed):.0f} a second); the largest has {largest['tasks_total']} tasks and took"
        f" {largest['seconds']:.1f} s beside all others; {len(refused)} were refused"
    )


def _document(name: str, graph: dict[str, Any]) -> bytes:
    call = {"python": {"call": "effects:nothing"}}
    needs = {task_key(task["id"]): [task_key(need) for need in task["depends_on"]] for task in graph["tasks"]}
    tasks = {key: {"needs": each, **call} for key, each in needs.items()}
    return json.dumps({"workflow": name, "triggers": [{"manual": {}}], "tasks": tasks}).encode()


async def _send(stack: Stack, documents: dict[str, bytes]) -> None:
    waiting = list(documents.items())
    async with stack.client(timeout=60) as client:

        async def sender() -> None:
            while waiting:
                name, document = waiting.pop()
                answer = await client.post(
                    f"/workflows?deploy=true&source={CODE}",
                    content=document,
                    headers={"Content-Type": "application/json"},
                )
                assert answer.status_code in (200, 201), (name, answer.text[:500])

        await asyncio.gather(*(sender() for _ in range(SENDERS)))


async def _start(stack: Stack, names: list[str]) -> dict[str, str]:
    """All in one batch, so that they run beside one another."""
    async with stack.client(timeout=60) as client:
        answer = await client.post("/runs:batch", json={"items": [{"workflow": name} for name in names]})
    assert answer.status_code == 200, answer.text[:500]
    items = answer.json()["items"]
    assert {item["status"] for item in items} == {202}, items
    return {name: item["run_id"] for name, item in zip(names, items, strict=True)}


async def _refuse(stack: Stack, graphs: list[dict[str, Any]]) -> None:
    before = await stack.rows("select count(*) as workflows from workflows")
    async with stack.client() as client:
        for graph in graphs:
            headers = {"Content-Type": "application/yaml"}
            answer = await client.post("/workflows?deploy=true", content=as_document(graph), headers=headers)
            assert answer.status_code in (400, 422), (graph["name"], answer.text)
            assert any(name in answer.text for name in names_at_fault(graph)), answer.text
    assert await stack.rows("select count(*) as workflows from workflows") == before


def _check(graph: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    found = {row["task"]: row for row in rows}
    assert len(found) == len(rows) == graph["stats"]["tasks"]
    assert {(row["state"], row["claim_no"]) for row in rows} == {("succeeded", 1)}, graph["name"]
    for task in graph["tasks"]:
        begins = found[task_key(task["id"])]["started_at"]
        early = [need for need in task["depends_on"] if found[task_key(need)]["finished_at"] > begins]
        assert not early, (graph["name"], task["id"], early)
