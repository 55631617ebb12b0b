"""What an attempt gets, and what becomes of what it did."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from scheduler_application.ports.execution import ExecutionRequest, LogSink
from scheduler_domain.run.outcome import Failed, Outcome, Succeeded, TaskError
from tests.services.stage import ONE_TASK, Stage, chain
from tests.support.world import ACTOR


def _one(**task: Any) -> Mapping[str, Any]:
    return {"workflow": "one", "inputs": {"n": {"type": "integer", "default": 3}}, "tasks": {"only": task}}


async def _ran(stage: Stage, document: Mapping[str, Any]) -> ExecutionRequest:
    await stage.world.deploy(document)
    async with stage.worker():
        run = await stage.world.start(document["workflow"])
        assert await stage.ended(run.run_id) == "succeeded"
    return stage.executors.requests[0]


async def test_a_run_is_executed_to_its_end(stage: Stage) -> None:
    await stage.world.deploy(chain(5))
    async with stage.worker():
        run = await stage.world.start("chain")
        assert await stage.ended(run.run_id) == "succeeded"
    assert [request.environment["ORRERY_TASK"] for request in stage.executors.requests] == [
        "t0",
        "t1",
        "t2",
        "t3",
        "t4",
    ]


async def test_a_task_finds_who_it_is_in_its_environment(stage: Stage) -> None:
    request = await _ran(stage, ONE_TASK)
    run = (await stage.world.rows("select id, traceparent from runs"))[0]
    task_run = (await stage.world.rows("select id from task_runs"))[0]["id"]
    assert dict(request.environment) == {
        "ORRERY_RUN_ID": run["id"],
        "ORRERY_TASK": "only",
        "ORRERY_ATTEMPT": "1",
        "ORRERY_FENCE": "1",
        "ORRERY_IDEMPOTENCY_KEY": f"{run['id']}/only",
        "TRACEPARENT": run["traceparent"],
    }
    assert request.idempotency_key == f"{run['id']}/only"
    assert request.work_folder == str(stage.folder / "work" / f"{task_run}-1")


async def test_templates_see_inputs_and_secrets(stage: Stage) -> None:
    stage.secrets = {"TOKEN": "hunter2!"}
    env = {"N": "${{ inputs.n }}", "T": "Bearer ${{ secrets.TOKEN }}", "L": "${{ [1, 'a'] }}"}
    request = await _ran(stage, _one(shell="true", env=env))
    assert {name: request.environment[name] for name in env} == {"N": "3", "T": "Bearer hunter2!", "L": '[1,"a"]'}


async def test_a_task_cannot_pretend_to_be_another(stage: Stage) -> None:
    with pytest.raises(Exception, match="ORRERY"):
        await stage.world.deploy(_one(shell="true", env={"ORRERY_FENCE": "99"}))


async def test_the_workers_own_code_folder_goes_before_the_deployed_one(stage: Stage, tmp_path: Path) -> None:
    await stage.world.deploy(ONE_TASK, source="/somewhere/else")
    for code_path, expected in ((None, Path("/somewhere/else")), (tmp_path, tmp_path)):
        async with stage.worker(code_path=code_path):
            run = await stage.world.start("one")
            await stage.ended(run.run_id)
        request = stage.executors.requests[-1]
        assert request.source == expected
        assert request.environment["ORRERY_SOURCE"] == str(expected)


async def test_items_have_idempotency_keys_of_their_own(stage: Stage) -> None:
    await stage.world.deploy({"workflow": "each", "tasks": {"one": {"shell": "true", "for_each": "${{ ['a', 'b'] }}"}}})
    async with stage.worker():
        run = await stage.world.start("each")
        assert await stage.ended(run.run_id) == "succeeded"
    keys = {request.idempotency_key for request in stage.executors.requests}
    assert keys == {f"{run.run_id}/one/0", f"{run.run_id}/one/1"}


async def test_the_idempotency_key_is_the_same_for_every_attempt(stage: Stage) -> None:
    async def fail(request: ExecutionRequest, log: LogSink) -> Outcome:
        return Failed(TaskError("exit_code", "it failed", exit_code=1))

    stage.executors.script = fail
    await stage.world.deploy(_one(shell="false", retry={"attempts": 2, "delay": "1s", "jitter": False}))
    async with stage.worker():
        run = await stage.world.start("one")
        await stage.states(run.run_id, {"only": "retrying"})
        stage.clock.advance(1.0)
        assert await stage.world.wake_due_tasks.execute(await stage.world.lead()) == 1
        assert await stage.ended(run.run_id) == "failed"
    first, second = stage.executors.requests
    assert first.idempotency_key == second.idempotency_key
    assert (first.environment["ORRERY_ATTEMPT"], second.environment["ORRERY_ATTEMPT"]) == ("1", "2")
    assert first.claim_no < second.claim_no


async def test_an_expression_that_fails_is_not_tried_again(stage: Stage) -> None:
    await stage.world.deploy(_one(shell="true", env={"A": "${{ secrets.MISSING }}"}, retry={"attempts": 3}))
    async with stage.worker():
        run = await stage.world.start("one")
        assert await stage.ended(run.run_id) == "failed"
    error = (await stage.world.tasks(run.run_id))["only"].error
    assert error is not None
    assert error["code"] == "expression_failed"
    assert "MISSING" in error["message"]
    assert stage.executors.requests == []


async def test_secrets_leave_neither_in_outputs_nor_in_errors(stage: Stage) -> None:
    stage.secrets = {"TOKEN": "hunter2!"}

    async def leak(request: ExecutionRequest, log: LogSink) -> Outcome:
        if request.environment["ORRERY_TASK"] == "good":
            return Succeeded({"said": ["the token is hunter2!"]})
        return Failed(TaskError("exit_code", "no hunter2! here", detail="unter2! at the cut"), retryable=False)

    stage.executors.script = leak
    await stage.world.deploy({"workflow": "two", "tasks": {"good": {"shell": "true"}, "bad": {"shell": "false"}}})
    async with stage.worker():
        run = await stage.world.start("two")
        await stage.ended(run.run_id)
    tasks = await stage.world.tasks(run.run_id)
    assert tasks["good"].output == {"said": ["the token is ***"]}
    assert tasks["bad"].error == {"code": "exit_code", "message": "no *** here", "detail": "*** at the cut"}


async def test_a_work_folder_is_gone_afterwards_whatever_is_in_it(stage: Stage) -> None:
    folders = []

    async def fill(request: ExecutionRequest, log: LogSink) -> Outcome:
        folder = Path(request.work_folder)
        folders.append(folder)
        assert folder.parent.is_dir()
        closed = folder / "closed"
        closed.mkdir(parents=True)
        (closed / "file").write_text("left")
        closed.chmod(0o500)
        (folder / "link").symlink_to("/etc")
        return Succeeded()

    stage.executors.script = fill
    await _ran(stage, ONE_TASK)
    assert [folder.exists() for folder in folders] == [False]
    assert os.path.isdir("/etc")  # noqa: PTH112 - what the link pointed to


async def test_the_last_lines_are_stored_before_the_end_of_the_run(stage: Stage) -> None:
    async def talk(request: ExecutionRequest, log: LogSink) -> Outcome:
        await log.write("stdout", b"hello\nworld")
        await log.write("stderr", b"oh")
        return Succeeded()

    stage.executors.script = talk
    await stage.world.deploy(ONE_TASK)
    async with stage.worker():
        run = await stage.world.start("one")
        await stage.ended(run.run_id)
        chunks = await stage.world.logs.read(ACTOR.project, run.run_id, task=None, after=None, limit=10)
    assert [(chunk.seq, chunk.stream, chunk.data) for chunk in chunks] == [
        (1, "stdout", b"hello\nworld"),
        (2, "stderr", b"oh"),
    ]


async def test_an_unknown_fault_of_recording_does_not_hang_the_task(stage: Stage) -> None:
    """An output that no JSON writer takes is refused by the store's side of the worker, not by the executor's."""

    async def strange(request: ExecutionRequest, log: LogSink) -> Outcome:
        return Succeeded({"when": object()})

    stage.executors.script = strange
    await stage.world.deploy(ONE_TASK)
    async with stage.worker():
        run = await stage.world.start("one")
        assert await stage.ended(run.run_id) == "failed"
    error = (await stage.world.tasks(run.run_id))["only"].error
    assert error is not None
    assert error["code"] == "invalid_output"
