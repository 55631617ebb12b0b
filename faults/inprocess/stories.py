"""What clients ask of an installation, and what has to come of it whatever dies meanwhile. Each story is short and
reaches the seams of one part; `faults.seam_table` says which."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

import msgspec

from faults.inprocess.processes import LONGEST_SECONDS, Installation
from faults.seams import SeamError
from scheduler_application.actor import Actor
from scheduler_application.errors import Conflict, Unavailable
from scheduler_application.run.announce import MOST_RETRIES
from scheduler_application.run.control import RerunCommand, RunCommand
from scheduler_application.run.start import StartRunCommand
from scheduler_application.schedule.backfill_plan import BackfillCommand
from scheduler_application.workflow.authoring import DeployCommand, WorkflowCommand
from scheduler_domain.ids import DEFAULT_PROJECT

ACTOR = Actor("key:tester00", DEFAULT_PROJECT)

Document = Mapping[str, Any]


@dataclass(slots=True)
class Client:
    """Asks until it is answered, as a client does that was told nothing, and keeps what it was promised."""

    site: Installation
    accepted: dict[str, str] = field(default_factory=dict)
    """The run that each idempotency key was promised."""

    starts: Counter[str] = field(default_factory=Counter)
    """How many runs of each workflow there must be in the end."""

    ends: dict[str, str] = field(default_factory=dict)
    """The state in which the runs of a workflow must end, where it is not ``succeeded``."""

    async def ask(self, request: Callable[[Any], Awaitable[Any]], *, role: str = "api") -> Any:
        """The first answer. What may pass, what nobody expected and a process that died are asked again."""
        while True:
            served = self.site.of(role).call(request)
            await self.site.until(partial(_is_done, served), within=LONGEST_SECONDS)
            try:
                return served.result()
            except (Unavailable, SeamError, asyncio.CancelledError):
                await self.site.turn(1.0)

    async def deploy(self, document: Document) -> None:
        command = DeployCommand(text=msgspec.json.encode(document), format="json", source=None)
        await self.ask(lambda use_cases: use_cases.deploy_workflow().execute(command, ACTOR))

    async def undeploy(self, workflow: str) -> None:
        await self.ask(lambda use_cases: use_cases.undeploy_workflow().execute(WorkflowCommand(workflow), ACTOR))

    async def start(self, workflow: str, key: str) -> str:
        """Starts a run under an idempotency key, twice: the second time is the same run."""
        command = StartRunCommand(workflow, {}, idempotency_key=key, request_hash="same")
        answers = [await self.ask(lambda use_cases: use_cases.start_run().execute(command, ACTOR)) for _ in range(2)]
        first, second = (answer.run_id for answer in answers)
        if first != second:
            raise AssertionError(f"one key started {first} and {second}")
        self.accepted[key] = first
        self.starts[workflow] += 1
        return str(first)

    async def cancel(self, run_id: str) -> None:
        try:
            await self.ask(lambda use_cases: use_cases.cancel_run().execute(RunCommand(run_id), ACTOR))
        except Conflict as error:
            _unless(error, "already_finished")

    async def ended(self, run_id: str) -> str:
        """The final state of a run."""

        async def is_final() -> bool:
            return bool(
                await self.site.rows("select 1 as x from runs where id = $1 and finished_at is not null", run_id)
            )

        await self.site.until(is_final)
        (row,) = await self.site.rows("select state from runs where id = $1", run_id)
        return str(row["state"])

    async def working(self, task: str, executions: int = 1) -> None:
        """Returns when ``task`` has begun so often."""

        async def has_begun() -> bool:
            return sum(effect.task == task for effect in self.site.effects.begun) >= executions

        await self.site.until(has_begun)


async def _is_done(served: "asyncio.Task[Any]") -> bool:
    return served.done()


def _unless(error: Conflict, *codes: str) -> None:
    """An earlier try had been carried out although its answer was lost: then this is the answer."""
    if error.code not in codes:
        raise error


Story = Callable[[Client], Awaitable[None]]


def flow(name: str, tasks: Mapping[str, Any], **more: Any) -> Document:
    return {"workflow": name, "tasks": tasks, **more}


AGAIN = {"shell": "true", "retry": 2, "on_worker_loss": "retry"}
ONE = {"only": AGAIN}


async def chain(client: Client) -> None:
    """A run of two tasks, one after the other."""
    await client.deploy(flow("chain", {"a": AGAIN, "b": {**AGAIN, "needs": ["a"]}}))
    await client.ended(await client.start("chain", "first"))
    await client.ended(await client.start("chain", "second"))


async def waiting(client: Client) -> None:
    """More runs than there are slots: hints wait long enough to be marked."""
    await client.deploy(flow("waiting", {"only": {"shell": "hold", "on_worker_loss": "retry"}}))
    runs = [await client.start("waiting", f"key {number}") for number in range(6)]
    await client.working("only", 2)
    for _ in range(4):
        await client.site.turn()
    client.site.effects.released.set()
    for run_id in runs:
        await client.ended(run_id)


async def clock(client: Client) -> None:
    """Two schedules that are due at the same times, three times each."""
    for name in ("first", "second"):
        await client.deploy(flow(name, ONE, triggers=[{"every": "2s", "misfire": "fire_all"}]))

    async def both_fired() -> bool:
        rows = await client.site.rows("select trigger_id from ledger")
        counts = Counter(str(row["trigger_id"]) for row in rows)
        return len(counts) == 2 and min(counts.values()) >= 3

    await client.site.until(both_fired)
    for name in ("first", "second"):
        await client.undeploy(name)


async def retry(client: Client) -> None:
    """A task that fails once."""
    await client.deploy(flow("retry", {"only": {"shell": "fail-once", "retry": {"attempts": 2, "delay": "2s"}}}))
    await client.ended(await client.start("retry", "first"))


async def graph(client: Client) -> None:
    """A list of items, a task for each, and a child run after them."""
    await client.deploy(flow("child", ONE))
    tasks = {
        "make": {**AGAIN, "shell": "list"},
        "each": {**AGAIN, "needs": ["make"], "for_each": "${{ tasks.make.output }}"},
        "call": {"needs": ["each"], "workflow": {"name": "child"}},
    }
    await client.deploy(flow("graph", tasks))
    await client.ended(await client.start("graph", "first"))
    client.starts["child"] += 1


async def queued(client: Client) -> None:
    """A second run waits for the slot of the first."""
    await client.deploy(flow("queued", ONE, concurrency={"limit": 1, "on_conflict": "queue"}))
    runs = [await client.start("queued", key) for key in ("first", "second")]
    for run_id in runs:
        await client.ended(run_id)


async def cancel(client: Client) -> None:
    """A run that is cancelled while its task executes and another waits for it."""
    tasks = {"long": {"shell": "hold", "on_worker_loss": "retry"}, "then": {"shell": "true", "needs": ["long"]}}
    await client.deploy(flow("cancel", tasks))
    run_id = await client.start("cancel", "first")
    await client.working("long")
    await client.cancel(run_id)
    await client.ended(run_id)
    client.ends["cancel"] = "cancelled"


async def timeout(client: Client) -> None:
    """A run that takes longer than it may."""
    tasks = {"long": {"shell": "hold", "on_worker_loss": "retry"}}
    await client.deploy(flow("timeout", tasks, timeout="3s"))
    await client.ended(await client.start("timeout", "first"))
    client.ends["timeout"] = "timed_out"


async def rerun(client: Client) -> None:
    """A finished run that is run again."""
    await client.deploy(flow("rerun", ONE))
    run_id = await client.start("rerun", "first")
    await client.ended(run_id)
    command = RerunCommand(run_id)
    await client.ask(lambda use_cases: use_cases.rerun_run().execute(command, ACTOR))
    # Without the key that the API keeps, a client that was not answered may have made two.
    (row,) = await client.site.rows("select count(*) as number from runs where rerun_of is not null")
    client.starts["rerun"] += min(row["number"], 2)


async def backfill(client: Client) -> None:
    """Three due times of the past."""
    await client.deploy(flow("backfill", ONE, triggers=[{"schedule": "30 * * * *"}]))
    now = client.site.clock.now()
    command = BackfillCommand("backfill", now - timedelta(hours=3), now, only_missing=True, max_parallel=2)
    try:
        await client.ask(lambda use_cases: use_cases.start_backfill().execute(command, ACTOR))
    except Conflict as error:
        _unless(error, "overlapping_backfill")

    async def is_over() -> bool:
        return bool(await client.site.rows("select 1 as x from backfills where finished_at is not null"))

    await client.site.until(is_over)
    client.starts["backfill"] += 3


async def unhinted(client: Client) -> None:
    """The broker refuses the first hints for longer than they are tried."""
    await client.deploy(flow("unhinted", ONE))
    client.site.broker.refuses = 1 + MOST_RETRIES
    await client.ended(await client.start("unhinted", "first"))


async def lost(client: Client) -> None:
    """The worker dies while it executes."""
    await client.deploy(flow("lost", {"only": {"shell": "hold", "on_worker_loss": "retry"}}))
    run_id = await client.start("lost", "first")
    await client.working("only")
    client.site.of("worker").kill()
    client.site.effects.released.set()
    await client.ended(run_id)


async def stale(client: Client) -> None:
    """The worker stands still past its lease, with a result on its way; it goes on while another executes the task."""
    site = client.site
    await client.deploy(flow("stale", {"only": {"shell": "hold", "on_worker_loss": "retry"}}))
    run_id = await client.start("stale", "first")
    await client.working("only")
    paused = site.of("worker")
    paused.freeze()
    site.effects.released.set()
    await site.settled()
    site.effects.released.clear()
    await site.end_leases(paused)
    await site.start("worker-2")
    await client.working("only", 2)
    paused.thaw()
    for _ in range(4):
        await site.turn()
    site.effects.released.set()
    await client.ended(run_id)


async def pair(client: Client) -> None:
    """Two tasks that need nobody; the first is over while the second executes."""
    await client.deploy(flow("pair", {"a": AGAIN, "b": {"shell": "hold", "on_worker_loss": "retry"}}))
    run_id = await client.start("pair", "first")
    await client.working("b")
    for _ in range(4):
        await client.site.turn()
    client.site.effects.released.set()
    await client.ended(run_id)


async def expect(client: Client) -> None:
    """A workflow of which nothing was seen by its deadline."""
    await client.deploy(flow("expect", ONE, expect={"by": "* * * * *"}))

    async def is_told() -> bool:
        return bool(await client.site.rows("select 1 as x from alerts"))

    await client.site.until(is_told)


STORIES: Mapping[str, Story] = {
    story.__name__: story
    for story in (
        chain,
        waiting,
        clock,
        retry,
        graph,
        queued,
        cancel,
        timeout,
        rerun,
        backfill,
        unhinted,
        lost,
        stale,
        pair,
        expect,
    )
}

OF_SEVERAL_PROCESSES = frozenset({"stale"})
"""Stories that `orrery up` cannot tell: where everything stands still, nobody takes a task over."""

UNCOUNTED: Sequence[str] = ("first", "second")
"""Workflows that the clock starts: the ledger says how many runs they have."""
