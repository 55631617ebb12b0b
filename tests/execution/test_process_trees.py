"""Whatever a task starts, nothing of it outlives the attempt."""

import asyncio
import os
import signal
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from scheduler_domain.run.outcome import Cancelled, Failed, HandedBack, Outcome, Succeeded, TimedOut
from scheduler_infrastructure.execution.shell import ShellExecutor
from scheduler_infrastructure.execution.supervision.supervisor import Supervisor
from tests.support.attempts import CollectedLog, an_attempt, left_behind, stop

DETACHED = {
    "in the background": "sleep 1000 &",
    "in its own session": "setsid sleep 1000 &",
    "forked twice": "(setsid sh -c 'sleep 1000 & sleep 1000 & exit 0' &)",
    "deaf to TERM": "setsid sh -c 'trap \"\" TERM; echo deaf; while :; do sleep 1000; done' & ",
    "stopped": "sleep 1000 & kill -STOP $!",
    "with stdout closed": "setsid sleep 1000 >/dev/null 2>&1 </dev/null &",
    "always on the move": "hop() { (hop &) ; exit 0; }; (hop &)",
}


@pytest.fixture
async def shell(supervisor: Supervisor) -> AsyncIterator[ShellExecutor]:
    executor = ShellExecutor(supervisor)
    await executor.open()
    yield executor
    await executor.close()


@pytest.mark.parametrize("start", DETACHED.values(), ids=DETACHED.keys())
async def test_what_a_task_leaves_when_it_ends_is_ended(shell: ShellExecutor, tmp_path: Path, start: str) -> None:
    attempt = an_attempt("shell", {"script": f"{start}\necho done"}, tmp_path)
    log = CollectedLog()
    assert await shell.execute(attempt, log) == Succeeded()
    assert "done" in log.text()
    assert left_behind(attempt) == []


@pytest.mark.parametrize("start", DETACHED.values(), ids=DETACHED.keys())
async def test_a_timeout_ends_the_whole_tree(shell: ShellExecutor, tmp_path: Path, start: str) -> None:
    attempt = an_attempt("shell", {"script": f"{start}\nsleep 1000"}, tmp_path, timeout=0.3)
    began = asyncio.get_running_loop().time()
    assert await shell.execute(attempt, CollectedLog()) == TimedOut(0.3)
    assert asyncio.get_running_loop().time() - began < 0.3 + attempt.grace + 2
    assert left_behind(attempt) == []


@pytest.mark.parametrize(
    ("reason", "outcome"), [("cancel", Cancelled()), ("shutdown", HandedBack()), ("lost", HandedBack())]
)
async def test_a_stop_ends_the_whole_tree(shell: ShellExecutor, tmp_path: Path, reason: str, outcome: Outcome) -> None:
    attempt = an_attempt("shell", {"script": f"{DETACHED['deaf to TERM']}\nsleep 1000"}, tmp_path)
    log = CollectedLog()
    running = asyncio.create_task(shell.execute(attempt, log))
    await log.seen("deaf")
    stop(attempt, reason)
    assert await running == outcome
    assert left_behind(attempt) == []


async def test_a_cancelled_call_ends_the_tree_before_it_raises(shell: ShellExecutor, tmp_path: Path) -> None:
    attempt = an_attempt("shell", {"script": f"{DETACHED['deaf to TERM']}\nsleep 1000"}, tmp_path, grace=30.0)
    log = CollectedLog()
    running = asyncio.create_task(shell.execute(attempt, log))
    await log.seen("deaf")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert left_behind(attempt) == []


async def test_a_task_that_listens_to_term_has_time_to_end(shell: ShellExecutor, tmp_path: Path) -> None:
    script = "trap 'echo tidy; exit 0' TERM\necho ready\nwhile :; do sleep 0.05; done"
    attempt = an_attempt("shell", {"script": script}, tmp_path, grace=20.0)
    log = CollectedLog()
    running = asyncio.create_task(shell.execute(attempt, log))
    await log.seen("ready")
    stop(attempt, "cancel")
    assert await running == Cancelled()
    assert "tidy" in log.text()


async def test_a_task_that_kills_its_supervisor_fails_and_leaves_nothing(shell: ShellExecutor, tmp_path: Path) -> None:
    script = "setsid sleep 1000 & kill -9 $PPID; sleep 1000"
    attempt = an_attempt("shell", {"script": script}, tmp_path)
    outcome = await shell.execute(attempt, CollectedLog())
    assert isinstance(outcome, Failed)
    assert outcome.error.code == "supervisor_lost"
    assert outcome.retryable
    assert left_behind(attempt) == []
    assert await shell.execute(an_attempt("shell", {"script": "true"}, tmp_path), CollectedLog()) == Succeeded()


async def test_a_task_that_is_killed_takes_its_children_along(shell: ShellExecutor, tmp_path: Path) -> None:
    attempt = an_attempt("shell", {"script": "sleep 1000 & setsid sleep 1000 & kill -9 $$"}, tmp_path)
    outcome = await shell.execute(attempt, CollectedLog())
    assert isinstance(outcome, Failed)
    assert (outcome.error.code, outcome.error.exit_code) == ("killed_by_signal", 137)
    assert left_behind(attempt) == []


async def test_a_killed_spawner_costs_no_running_attempt(shell: ShellExecutor, tmp_path: Path) -> None:
    go = tmp_path / "go"
    os.mkfifo(go)
    attempt = an_attempt("shell", {"script": f"echo ready\nread line < {go}\necho $line"}, tmp_path)
    log = CollectedLog()
    running = asyncio.create_task(shell.execute(attempt, log))
    await log.seen("ready")
    spawners = [child for child in psutil.Process().children() if "supervision.spawner" in " ".join(child.cmdline())]
    assert len(spawners) == 1
    spawners[0].kill()
    assert await shell.execute(an_attempt("shell", {"script": "true"}, tmp_path), CollectedLog()) == Succeeded()
    go.write_text("went on\n")
    assert await running == Succeeded()
    assert "went on" in log.text()


async def test_close_ends_what_still_runs(tmp_path: Path) -> None:
    others = set(psutil.Process().children(recursive=True))
    shell = ShellExecutor(Supervisor())
    await shell.open()
    attempt = an_attempt("shell", {"script": "echo ready; sleep 1000"}, tmp_path)
    log = CollectedLog()
    running = asyncio.create_task(shell.execute(attempt, log))
    await log.seen("ready")
    below = set(psutil.Process().children(recursive=True)) - others
    await shell.close()
    assert isinstance(await running, Failed)
    gone, alive = psutil.wait_procs(below, timeout=5)
    assert alive == []
    assert len(gone) >= 3


ROOT = Path(__file__).parents[2]
WORKER = """
    import asyncio, sys
    from pathlib import Path
    from scheduler_infrastructure.execution.python import PythonExecutor
    from scheduler_infrastructure.execution.shell import ShellExecutor
    from scheduler_infrastructure.execution.supervision.supervisor import Supervisor
    from tests.support.attempts import an_attempt

    class Print:
        async def write(self, stream, data):
            print(data.decode(), end="", flush=True)

    async def main():
        folder, supervisor = Path(sys.argv[1]), Supervisor()
        shell, python = ShellExecutor(supervisor), PythonExecutor(supervisor)
        await shell.open()
        await python.open()
        scripts = [
            "setsid sleep 1000 & echo up; sleep 1000",
            "(setsid sh -c 'sleep 1000 & exit 0' &); echo up; sleep 1000",
            "trap '' TERM; echo up; while :; do sleep 1000; done",
        ]
        attempts = [an_attempt("shell", {"script": script}, folder) for script in scripts]
        code = folder / "code"
        call = an_attempt("python", {"call": "slow:wait"}, folder, source=code)
        await asyncio.gather(*(shell.execute(attempt, Print()) for attempt in attempts), python.execute(call, Print()))

    asyncio.run(main())
"""


async def test_a_killed_worker_leaves_no_process(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "slow.py").write_text("import time\ndef wait():\n    print('up')\n    time.sleep(1000)\n")
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-c", textwrap.dedent(WORKER), str(tmp_path), stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    assert worker.stdout is not None
    async with asyncio.timeout(30):
        for _ in range(4):
            assert await worker.stdout.readline() == b"up\n"
    below = psutil.Process(worker.pid).children(recursive=True)
    assert len(below) >= 12
    os.kill(worker.pid, signal.SIGKILL)
    await worker.wait()
    _, alive = await asyncio.to_thread(psutil.wait_procs, below, 10)
    assert alive == []


IGNORING = """
    import os, signal, sys
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
ONE_TASK = """
    import asyncio, sys
    from pathlib import Path
    from scheduler_infrastructure.execution.shell import ShellExecutor
    from scheduler_infrastructure.execution.supervision.supervisor import Supervisor
    from tests.support.attempts import CollectedLog, an_attempt

    async def main():
        shell = ShellExecutor(Supervisor())
        await shell.open()
        outcome = await shell.execute(an_attempt("shell", {"script": "exit 3"}, Path(sys.argv[1])), CollectedLog())
        print(outcome.error.message)
        await shell.close()

    asyncio.run(main())
"""


async def test_a_worker_that_was_started_deaf_to_the_ends_of_children_sees_them(tmp_path: Path) -> None:
    words = ("-c", textwrap.dedent(IGNORING), "-c", textwrap.dedent(ONE_TASK), str(tmp_path))
    worker = await asyncio.create_subprocess_exec(sys.executable, *words, stdout=asyncio.subprocess.PIPE, cwd=ROOT)
    async with asyncio.timeout(30):
        said, _ = await worker.communicate()
    assert said == b"the script ended with exit code 3\n"
