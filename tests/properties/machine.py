"""A system under random use: graphs, outcomes, cancels, lost workers, reports that come twice or too late; and what
must hold."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from scheduler_application.errors import Conflict
from scheduler_application.run.claim import ClaimedTask
from scheduler_application.run.control import RerunCommand, TaskRunCommand
from scheduler_domain.run.outcome import Cancelled, HandedBack, Outcome, Succeeded, TimedOut
from scheduler_domain.run.states import FINAL_RUN_STATES, FINAL_TASK_STATES
from tests.support.flows import failure, flow, lose, recover, wake
from tests.support.invariants import broken_invariants
from tests.support.world import ACTOR, World

MAX_TASKS = 7
MOST_ROUNDS = 400

RUN_IFS = ("all_succeeded", "any_failed", "all_done", "any_succeeded")
OUTCOMES: tuple[Outcome, ...] = (
    Succeeded(),
    Succeeded([1, 2, 3]),
    Succeeded({"n": 1}),
    failure(),
    failure(retryable=False),
    TimedOut(1.0),
    HandedBack(),
    Cancelled(),
)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """A workflow: each task needs some of those before it, and is of any kind."""
    names = [f"t{number}" for number in range(draw(st.integers(1, MAX_TASKS)))]
    tasks = {}
    for position, name in enumerate(names):
        needs = draw(st.lists(st.sampled_from(names[:position]), unique=True, max_size=3)) if position else []
        tasks[name] = draw(bodies(needs))
    document = flow(tasks)
    if draw(st.booleans()):
        on_conflict = draw(st.sampled_from(["queue", "skip", "cancel_running"]))
        document["concurrency"] = {"limit": draw(st.integers(1, 2)), "on_conflict": on_conflict}
    if draw(st.integers(0, 4)) == 0:
        document["timeout"] = "60s"
    return document


@st.composite
def bodies(draw: st.DrawFn, needs: list[str]) -> dict[str, Any]:
    body: dict[str, Any] = {"needs": needs} if needs else {}
    if needs:
        body["run_if"] = draw(st.sampled_from(RUN_IFS))
    kind = draw(st.sampled_from(["shell", "shell", "shell", "wait", "workflow"]))
    if kind == "wait":
        body["wait"] = {"for": "10s"}
    elif kind == "workflow":
        body["workflow"] = {"name": draw(st.sampled_from(["child", "nobody"]))}
    if kind != "wait" and draw(st.booleans()):
        body["retry"] = {"attempts": draw(st.integers(1, 3)), "delay": "5s"}
    if kind == "shell" and draw(st.integers(0, 3)) == 0:
        body["on_worker_loss"] = "fail"
    if draw(st.integers(0, 3)) == 0:
        body["for_each"] = draw(st.sampled_from(["${{ [1, 2, 3] }}", "${{ [] }}", "${{ 7 }}"]))
        if draw(st.booleans()):
            body["max_parallel"] = draw(st.integers(1, 2))
    if needs and draw(st.integers(0, 4)) == 0:
        body["when"] = draw(st.sampled_from([f"${{{{ tasks.{needs[0]}.state == 'succeeded' }}}}", "${{ false }}"]))
    return body


MOVES = (
    *["claim"] * 4,
    *["report"] * 6,
    "report_again",
    "lose_worker",
    "turn_clock",
    "cancel",
    "cancel_task",
    "start",
    "rerun",
)
"""How often each move is drawn."""

CHILD = flow({"c1": {}, "c2": {"needs": ["c1"]}}, name="child", concurrency={"limit": 2})


@dataclass
class Machine:
    """Draws what happens next and does it."""

    world: World
    draw: Callable[[st.SearchStrategy[Any]], Any]
    runs: list[str] = field(default_factory=list)
    held: list[ClaimedTask] = field(default_factory=list)
    reported: list[ClaimedTask] = field(default_factory=list)
    fences: dict[str, int] = field(default_factory=dict)
    ended_runs: dict[str, str] = field(default_factory=dict)
    ended_tasks: dict[str, str] = field(default_factory=dict)

    async def play(self, steps: int) -> None:
        await self.start()
        for _ in range(steps):
            move: Callable[[], Awaitable[None]] = getattr(self, self.draw(st.sampled_from(MOVES)))
            await move()
            await self.check()
        await self.drain()
        await self.check()
        await self.check_end()

    async def start(self) -> None:
        try:
            self.runs.append((await self.world.start("flow")).run_id)
        except Conflict as refusal:
            assert refusal.code == "skipped"

    async def claim(self) -> None:
        self.held += await self.world.claim(self.draw(st.integers(1, 4)))

    async def report(self) -> None:
        if self.held:
            task = self.held.pop(self.draw(st.integers(0, len(self.held) - 1)))
            self.reported.append(task)
            await self.world.finish(task, self.draw(st.sampled_from(OUTCOMES)))

    async def report_again(self) -> None:
        """What was reported before, or lies with a worker that was lost, is reported once more."""
        if self.reported:
            task = self.draw(st.sampled_from(self.reported))
            assert await self.world.finish(task, self.draw(st.sampled_from(OUTCOMES))) is False

    async def lose_worker(self) -> None:
        if not self.world.worker_id:
            return
        await lose(self.world, self.world.worker_id)
        await recover(self.world)
        self.reported += self.held
        self.held.clear()
        await self.world.new_worker()

    async def turn_clock(self) -> None:
        """The leader's round after a while. A lease that the clock ended is renewed as a worker would have: in time."""
        await self.world.write("update workers set lease_until = $1", self._far())
        await wake(self.world, self.draw(st.sampled_from([1, 5, 20])))
        await self.world.enforce_run_deadlines.execute(await self.world.lead())

    async def cancel(self) -> None:
        if self.runs:
            try:
                await self.world.cancel(self.draw(st.sampled_from(self.runs)))
            except Conflict as refusal:
                assert refusal.code == "already_finished"

    async def cancel_task(self) -> None:
        rows = await self.world.rows("select id from task_runs order by id")
        if rows:
            task_run_id = self.draw(st.sampled_from([row["id"] for row in rows]))
            try:
                await self.world.cancel_task_run.execute(TaskRunCommand(task_run_id), ACTOR)
            except Conflict as refusal:
                assert refusal.code == "already_finished"

    async def rerun(self) -> None:
        if self.runs:
            command = RerunCommand(self.draw(st.sampled_from(self.runs)), from_failed=self.draw(st.booleans()))
            try:
                self.runs.append((await self.world.rerun_run.execute(command, ACTOR)).run_id)
            except Conflict as refusal:
                assert refusal.code in ("still_running", "nothing_failed", "skipped")

    async def drain(self) -> None:
        """From now on everything goes well: every run must come to its end."""
        for _ in range(MOST_ROUNDS):
            self.held += await self.world.claim()
            for task in self.held:
                await self.world.finish(task, Succeeded())
            idle, self.held = not self.held, []
            live = await self.world.rows("select id from runs where finished_at is null")
            if not live:
                return
            if idle:
                await self.world.write("update workers set lease_until = $1", self._far())
                await wake(self.world, 20)
                await self.world.enforce_run_deadlines.execute(await self.world.lead())
        raise AssertionError(f"{len(live)} runs never end")

    async def check(self) -> None:
        """What must hold between any two moves."""
        assert await broken_invariants(self.world) == []
        for row in await self.world.rows("select id, state, claim_no from task_runs"):
            assert row["claim_no"] >= self.fences.get(row["id"], 0), "a fence went back"
            self.fences[row["id"]] = row["claim_no"]
            assert self.ended_tasks.get(row["id"], row["state"]) == row["state"], "a final task run moved"
            if row["state"] in FINAL_TASK_STATES:
                self.ended_tasks[row["id"]] = row["state"]
        for row in await self.world.rows("select id, state from runs"):
            assert self.ended_runs.get(row["id"], row["state"]) == row["state"], "a final run moved"
            if row["state"] in FINAL_RUN_STATES:
                self.ended_runs[row["id"]] = row["state"]

    async def check_end(self) -> None:
        for row in await self.world.rows("select id, state, tasks_left from runs"):
            assert (row["state"] in FINAL_RUN_STATES, row["tasks_left"]) == (True, 0)
        assert {row["live"] for row in await self.world.rows("select live from slots")} <= {0}

    def _far(self) -> datetime:
        now: datetime = self.world.clock.now()
        return now + timedelta(days=36_500)
