"""Each rule of the checker catches what is planted, and says nothing of a system that is right."""

import base64
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from faults.checker import INVARIANTS, violations
from faults.evidence import Evidence
from faults.sampler import Sample
from tests.faults import planted
from tests.faults.planted import attempt, change, chunk, decision, effect, exchange, fired, good, run, second, task_run

CASES: dict[str, tuple[str, Callable[[], Evidence]]] = {
    "an accepted run that does not exist": ("I1", lambda: good(journal=[exchange(answer={"run_id": "gone"})])),
    "a run that has not ended": (
        "I1",
        lambda: _with_run(state="running", finished_at=None, tasks_left=0),
    ),
    "a run that failed by itself": ("I1", lambda: _with_run(state="failed")),
    "a run that was cancelled by nobody": ("I1", lambda: _with_run(state="cancelled")),
    "a run that ended twice": ("I1", lambda: _with_change(change("runs", "running", "failed"))),
    "a counter that is wrong": ("I1", lambda: _with_run(tasks_left=1)),
    "an open task of an ended run": ("I1", lambda: good(task_runs=[task_run(state="queued")])),
    "a final state that was left": ("I2", lambda: _with_change(change("task_runs", "succeeded", "running", 2))),
    "a due time without a row": ("I3", lambda: _with_fires(1, 3)),
    "a row without its run": ("I3", lambda: good(runs=[run(), fired(1), fired(2)])),
    "a due time with two runs": (
        "I3",
        lambda: good(runs=[run(), *(fired(number) for number in (1, 2, 3)), fired(3, id="again")]),
    ),
    "a row that names the run of another time": ("I3", lambda: _with_decision(decision(3, run_id="fired-2"))),
    "a run of a missed time": ("I3", lambda: _with_decision(decision(3, outcome="missed", run_id=None))),
    "a run of no due time": ("I4", lambda: good(runs=[*good().runs, fired(4)])),
    "a row of no due time": (
        "I4",
        lambda: good(ledger=[*good().ledger, decision(2, due_at=second(2.5), outcome="missed", run_id=None)]),
    ),
    "a decision before its time": ("I4", lambda: _with_decision(decision(3, decided_at=second(2.9)))),
    "a start before its time": (
        "I4",
        lambda: good(runs=[run(), fired(1), fired(2), fired(3, started_at=second(2.9))]),
    ),
    "an effect twice under one fence": ("I5", lambda: good(effects=[effect(1), effect(2)])),
    "an effect of a claim that ended in no record": (
        "I5",
        lambda: good(task_runs=[task_run(claim_no=2)], effects=[effect(1), effect(2, fence=2)]),
    ),
    "an effect of nobody": ("I5", lambda: good(effects=[effect(), effect(2, run_id="stranger")])),
    "a success without its effect": ("I5", lambda: good(effects=[])),
    "a success under a fence that had no effect": (
        "I5",
        lambda: good(task_runs=[task_run(claim_no=2)], attempts=[attempt()], effects=[effect()]),
    ),
    "an http effect too often": (
        "I5",
        lambda: good(effects=[effect(number, fence=None, attempt=None) for number in (1, 2)]),
    ),
    "the output of a stale attempt": (
        "I6",
        lambda: good(
            task_runs=[task_run(claim_no=2, output='{"fence": 1}')],
            attempts=[attempt()],
            effects=[effect(1), effect(2, fence=2)],
        ),
    ),
    "a fence that was never claimed": (
        "I6",
        lambda: good(effects=[effect(), effect(2, fence=2)]),
    ),
    "a fence that fell": (
        "I6",
        lambda: _with_change(change("task_runs", "running", "running", 1, fence_before=2)),
    ),
    "an accepted effect after a later fence": (
        "I6",
        lambda: good(
            task_runs=[task_run(claim_no=2)], attempts=[attempt()], effects=[effect(1, fence=2), effect(2, fence=1)]
        ),
    ),
    "an epoch with two leaders": ("I7", lambda: _with_change(change("leadership", "a", "b", 1))),
    "a deposed leader that decides": (
        "I7",
        lambda: good(ledger=[decision(1), decision(2, epoch=2), decision(3, epoch=1)]),
    ),
    "a decision after the next epoch began": (
        "I7",
        lambda: _with_change(change("leadership", "a", "b", 2, committed_at=second(2.5))),
    ),
    "a task without a worker": ("I8", lambda: good(samples=[_sample(orphans={"task-1": 20.5})])),
    "a task that waits beside a free slot": ("I9", lambda: good(samples=_waits(range(62)))),
    "a task that began before its need ended": (
        "I10",
        lambda: good(
            versions=[planted.version({"one": {}, "two": {"needs": ["one"]}})],
            task_runs=[task_run(), task_run(id="task-2", task="two", started_at=second(2))],
            effects=[effect(), effect(2, task="two")],
        ),
    ),
    "two live runs of a workflow with one slot": (
        "I10",
        lambda: good(
            runs=[run(), run(id="run-2", started_at=second(2))],
            changes=[*good().changes, change("runs", "running", "succeeded", key="run-2")],
            limits={"single": 1},
        ),
    ),
    "two inside where one may be": (
        "I11",
        lambda: good(
            effects=[effect(1), *(effect(2 + n, kind="enter", held="g", run_id=f"r{n}") for n in (0, 1))],
            limits={"g": 1},
        ),
    ),
    "a message that is left": ("I13", lambda: good(queues={"orrery.tasks.default.normal": 1})),
    "a dead letter": ("I13", lambda: good(queues={"orrery.dead": 1})),
    "a task that waits at rest": ("I13", lambda: good(task_runs=[task_run(state="ready")])),
    "a key that started two runs": (
        "I14",
        lambda: good(
            runs=[*good().runs, run(id="run-2")],
            changes=[*good().changes, change("runs", "running", "succeeded", key="run-2")],
            journal=[exchange(1, key="k"), exchange(2, key="k", answer={"run_id": "run-2"})],
        ),
    ),
    "a key with another body that is accepted": (
        "I14",
        lambda: good(journal=[exchange(1, key="k"), exchange(2, key="k", body={"priority": "low"})]),
    ),
    "an attempt too many": ("I15", lambda: good(task_runs=[task_run(attempt=2)])),
    "a loss too many": ("I15", lambda: good(task_runs=[task_run(worker_losses=4)])),
    "a claim without its record": ("I15", lambda: good(task_runs=[task_run(claim_no=3)], effects=[effect(fence=3)])),
    "a chunk of a log that is missing": ("I16", lambda: good(logs=[chunk(1, "a"), chunk(3, "b")])),
    "a line that is missing": (
        "I16",
        lambda: good(
            task_runs=[task_run(task="talk", output=None)],
            effects=[],
            logs=[chunk(1, planted.printed().replace("line 7 ", ""))],
        ),
    ),
    "a secret in a log": ("I17", lambda: good(logs=[chunk(1, good().canary)])),
    "a secret in base64 in an output": (
        "I17",
        lambda: good(
            task_runs=[task_run(output=base64.b64encode(good().canary.encode()).decode())],
        ),
    ),
    "a secret in the log of a node": ("I17", lambda: good(node_logs={"api-1": good().canary[::-1]})),
    "a process of an ended run": ("I18", lambda: good(leftovers=[planted.RUN])),
    "a zombie": ("I18", lambda: good(zombies=[4711])),
    "a 500": ("I19", lambda: good(journal=[exchange(), exchange(2, status=500, answer=None)])),
    "a 503 that says nothing": ("I19", lambda: good(journal=[exchange(), exchange(2, status=503, answer=None)])),
    "an answer that took six seconds": ("I19", lambda: good(journal=[exchange(seconds=6.0)])),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_planted_is_caught(case: str) -> None:
    invariant, evidence = CASES[case]
    found = violations(evidence())
    assert any(sentence.startswith(f"{invariant}:") for sentence in found), found


def test_a_system_that_is_right_gives_no_violation() -> None:
    assert violations(good()) == []


def test_every_invariant_has_a_case() -> None:
    assert {invariant.id for invariant in INVARIANTS} == {invariant for invariant, _ in CASES.values()}


def test_only_the_invariants_that_are_named_are_asked() -> None:
    assert violations(good(queues={"orrery.dead": 1}), ["I1"]) == []


def test_a_slot_that_is_free_only_now_and_then_says_nothing_of_who_waits() -> None:
    full = Sample(30.0, {}, {}, 0, 0)
    assert violations(good(samples=[*_waits(range(30)), full, *_waits(range(31, 62))])) == []
    assert violations(good(samples=[*_waits(range(30)), *_waits(range(40, 70))])) == []


def test_an_answer_may_take_as_long_as_the_machine_is_suspended() -> None:
    waited = exchange(at=10.0, seconds=10.0, status=None, problem="ReadTimeout")
    assert violations(good(journal=[waited], suspensions=[(12.0, 162.0)])) == []
    assert violations(good(journal=[waited], suspensions=[(30.0, 180.0)])) != []


def test_a_key_whose_first_request_was_refused_may_bring_another_body() -> None:
    refused = exchange(1, key="k", status=503, answer=None, retry_after="1")
    assert violations(good(journal=[refused, exchange(2, key="k", body={"priority": "low"})])) == []


def test_a_lost_attempt_may_have_had_its_effect() -> None:
    tasks, effects = [task_run(claim_no=2, worker_losses=1)], [effect(1), effect(2, fence=2)]
    assert violations(good(task_runs=tasks, attempts=[attempt()], effects=effects)) == []


def test_a_run_may_fail_that_lost_its_worker_three_times() -> None:
    tasks = [task_run(state="failed", worker_losses=3, claim_no=3, output=None, error='{"code": "poison"}')]
    past = [attempt(claim_no=number) for number in (1, 2)]
    assert violations(_with_run(state="failed", task_runs=tasks, attempts=past, effects=[])) == []


def test_a_run_may_be_cancelled_by_who_asked_for_it() -> None:
    cancel = exchange(2, path=f"/runs/{planted.RUN}/cancel", answer={"state": "cancelling"})
    assert violations(_with_run(state="cancelled", journal=[exchange(), cancel])) == []


def test_what_is_under_way_is_not_judged_before_the_system_is_at_rest() -> None:
    open_run = run(state="running", finished_at=None, tasks_left=1)
    open_task = task_run(state="running", output=None, finished_at=None)
    evidence = good(runs=[open_run], task_runs=[open_task], triggers=[], ledger=[], changes=[], drained=False)
    assert violations(evidence) == []


def _with_run(**changed: Any) -> Evidence:
    """A good system whose run by hand is ``changed``; other tables by their names."""
    tables = {name: changed.pop(name) for name in ("task_runs", "attempts", "effects", "journal") if name in changed}
    return good(runs=[run(**changed), *good().runs[1:]], **tables)


def _with_change(planted_change: dict[str, Any]) -> Evidence:
    return good(changes=[*good().changes, planted_change])


def _with_fires(*numbers: int) -> Evidence:
    """The runs and rows of these due times only."""
    return good(runs=[run(), *(fired(number) for number in numbers)], ledger=[decision(number) for number in numbers])


def _with_decision(row: dict[str, Any]) -> Evidence:
    return good(ledger=[decision(1), decision(2), row])


def _waits(looks: Iterable[int]) -> list[Sample]:
    """The task waits beside a free slot in each of the looks, which are seconds apart."""
    return [Sample(float(at), {}, {"task-1": 61.0}, 0, 0) for at in looks]


def _sample(orphans: dict[str, float] | None = None, waiting: dict[str, float] | None = None) -> Sample:
    return Sample(0.0, orphans or {}, waiting or {}, 0, 0)
