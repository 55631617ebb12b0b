"""Functions in warm children: what they get, what is made of how they end, and when a child is not used again."""

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from scheduler_application.ports.execution import ExecutionRequest
from scheduler_domain.run.outcome import Cancelled, Failed, HandedBack, Outcome, Succeeded, TimedOut
from scheduler_infrastructure.execution.python import PythonExecutor
from scheduler_infrastructure.execution.supervision.supervisor import Supervisor
from tests.support.attempts import CollectedLog, an_attempt, left_behind, stop

JOBS = """
import asyncio, builtins, ctypes, json, os, shutil, signal, subprocess, sys, threading, time

def pid(): return os.getpid()
def policy(): return os.sched_getscheduler(0)
def echo(**args): return args
def nothing(): pass
async def later(x):
    await asyncio.sleep(0)
    return x
def talk():
    print("out")
    print("err", file=sys.stderr)
    os.system("echo from a child")
def variables(): return {name: os.environ.get(name) for name in ("ORRERY_RUN_ID", "DAY", "LEFT", "ORRERY_SOURCE")}
def leave_variable(): os.environ["LEFT"] = "x"; os.environ.pop("ORRERY_RUN_ID")
def here(): return [os.getcwd(), os.listdir("."), os.path.isdir(os.environ["ORRERY_ARTIFACTS"])]
def scribble(): open("note", "w").write("x")
def wrote_file():
    with open(os.environ["ORRERY_OUTPUT"], "w") as file: json.dump([1], file)
def wrote_file_and_left(): wrote_file(); os._exit(0)
def raises(): raise ValueError("bad day")
class Mute(Exception):
    def __str__(self): raise RuntimeError("mute")
def raises_mute(): raise Mute()
def recurses(): return recurses()
def exits(code=None): sys.exit(code)
def leaves(code): os._exit(code)
def crashes(): ctypes.string_at(0)
def a_set(): return {1}
def not_a_number(): return float("nan")
def too_big(): return "x" * 70000
def too_deep():
    value = []
    for _ in range(40): value = [value]
    return value
def bottomless():
    value = []
    for _ in range(100000): value = [value]
    return value
def nul(): return "\\0"
def huge_number(): return 2**80
def allocates(): return len(bytearray(10**15))
def sleeps(): print("sleeping"); time.sleep(1000)
def deaf(): signal.signal(signal.SIGTERM, signal.SIG_IGN); print("deaf"); time.sleep(1000)
def prints_for_ever():
    while True: print("y" * 1000)
def leaves_process(): subprocess.Popen(["sleep", "1000"], start_new_session=True)
def leaves_daemon(): os.system("setsid sleep 1000 &")
def leaves_thread(): threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
def patches(): builtins.len = lambda value: 7
def closes_stdout(): os.close(1)
def handles_term(): signal.signal(signal.SIGTERM, signal.SIG_IGN)
def replaces_stdout(): sys.stdout = None
def speaks_out_of_turn(): os.write(3, b"\\xff\\xff\\xff\\xff nonsense")
def closes_socket(): os.closerange(3, 20); time.sleep(1000)
def moves(): os.chdir("/")
def removes_folder(): shutil.rmtree(os.getcwd())
def renames_folder(): os.rename(os.getcwd(), f"{os.getcwd()}-{time.monotonic_ns()}")
def fills_artifacts(): open(os.environ["ORRERY_ARTIFACTS"] + "/kept", "w").close()
def links_here(): os.symlink("/etc/passwd", "link"); os.mkdir("empty")
def closes_the_rest(): os.closerange(5, 100)
def closes_the_line(): os.close(4)
def artifacts(): return os.listdir(os.environ["ORRERY_ARTIFACTS"])
def meets(folder, name, number):
    open(f"{folder}/{name}", "w").close()
    while len(os.listdir(folder)) < number: time.sleep(0.001)
not_callable = 3
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "jobs.py").write_text(JOBS)
    (folder / "setting.py").write_text(
        "import os\nos.environ['ORRERY_TASK'] = 'imported'\nos.environ['OWN'] = 'kept'\n"
        "def f(): return [os.environ['ORRERY_TASK'], os.environ['OWN']]\n"
    )
    (folder / "broken.py").write_text("def f(:\n")
    (folder / "raising.py").write_text("raise RuntimeError('not today')\n")
    return folder


class Caller:
    def __init__(self, executor: PythonExecutor, folder: Path, source: Path) -> None:
        self.executor, self.folder, self.source = executor, folder, source

    async def __call__(self, call: str, args: dict[str, object] | None = None, **changes: Any) -> Outcome:
        outcome, _ = await self.logged(call, args, **changes)
        return outcome

    async def logged(
        self, call: str, args: dict[str, object] | None = None, **changes: Any
    ) -> tuple[Outcome, CollectedLog]:
        log = CollectedLog()
        attempt = self.attempt(call, args, **changes)
        outcome = await asyncio.wait_for(self.executor.execute(attempt, log), 30)
        assert left_behind(attempt) == []
        return outcome, log

    def attempt(self, call: str, args: dict[str, object] | None = None, **changes: Any) -> ExecutionRequest:
        settings = {"call": f"jobs:{call}" if ":" not in call else call, "args": args or {}}
        return an_attempt("python", settings, self.folder, **{"source": self.source, **changes})

    async def pid(self, **changes: Any) -> object:
        outcome = await self("pid", **changes)
        assert isinstance(outcome, Succeeded)
        return outcome.output


@pytest.fixture
async def call(tmp_path: Path, source: Path) -> AsyncIterator[Caller]:
    executor = PythonExecutor(Supervisor(), max_children=3, recycle_after=50)
    await executor.open()
    yield Caller(executor, tmp_path, source)
    await executor.close()


async def test_a_function_is_scheduled_as_the_worker_is(call: Caller) -> None:
    assert await call("policy") == Succeeded(os.sched_getscheduler(0))


@pytest.mark.parametrize(
    ("function", "args", "output"),
    [
        ("nothing", {}, None),
        ("echo", {"a": 1, "b": [None, "ä\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16")]}, ...),
        ("later", {"x": {"y": 1.5}}, {"y": 1.5}),
        ("wrote_file", {}, [1]),
        ("wrote_file_and_left", {}, [1]),
        ("exits", {}, None),
        ("exits", {"code": 0}, None),
    ],
)
async def test_what_a_function_returns_is_the_output(
    call: Caller, function: str, args: dict[str, object], output: object
) -> None:
    assert await call(function, args) == Succeeded(args if output is ... else output)


class _AtOnce:
    """A thread whose work is done by the time it has started."""

    def __init__(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.start = lambda: target(*args, **kwargs)


async def test_an_output_is_read_before_its_folder_goes(
    call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler_infrastructure.execution.warm.process.threading.Thread", _AtOnce)
    assert await call("wrote_file_and_left") == Succeeded([1])
    assert not list(tmp_path.glob("python-*"))


async def test_large_arguments_arrive_whole(call: Caller) -> None:
    text = "x" * 3_000_000
    outcome = await call("echo", {"text": text, "back": True})
    assert isinstance(outcome, Failed)  # The arguments arrived; it is the result that is too large.
    assert outcome.error.code == "invalid_output"


@pytest.mark.parametrize(
    ("function", "args", "code", "message"),
    [
        ("raises", {}, "exception", "ValueError: bad day"),
        ("raises_mute", {}, "exception", "Mute"),
        ("recurses", {}, "exception", "RecursionError"),
        ("allocates", {}, "exception", "MemoryError"),
        ("echo", {"self": 1, "no such": 2}, None, ""),
        ("later", {}, "exception", "missing 1 required positional argument: 'x'"),
        ("exits", {"code": "x"}, "exit_code", "SystemExit: x"),
        ("leaves", {"code": 0}, "no_result", "exit code 0 before the function returned"),
        ("leaves", {"code": 3}, "exit_code", "exit code 3"),
        ("crashes", {}, "killed_by_signal", "SIGSEGV"),
        ("a_set", {}, "invalid_output", "set is not JSON"),
        ("not_a_number", {}, "invalid_output", "JSON"),
        ("too_big", {}, "invalid_output", "65536"),
        ("too_deep", {}, "invalid_output", "deeper than 32"),
        ("bottomless", {}, "invalid_output", ""),
        ("nul", {}, "invalid_output", "NUL"),
        ("huge_number", {}, "invalid_output", "64 bits"),
        ("speaks_out_of_turn", {}, "no_result", "was ended"),
        ("closes_socket", {}, "no_result", "was ended"),
        ("not_callable", {}, "import_error", "not callable"),
        ("missing", {}, "import_error", "has no attribute 'missing'"),
        ("nowhere:f", {}, "import_error", "No module named 'nowhere'"),
        ("broken:f", {}, "import_error", "broken.py, line 1"),
        ("raising:f", {}, "import_error", "RuntimeError: not today"),
        ("jobs:a b", {}, "import_error", "package.module:function"),
        ("jobs.py:", {}, "import_error", "package.module:function"),
    ],
)
async def test_how_a_function_fails_is_told(
    call: Caller, function: str, args: dict[str, object], code: str | None, message: str
) -> None:
    outcome = await call(function, args)
    if code is None:
        assert outcome == Succeeded(args)
        return
    assert isinstance(outcome, Failed)
    assert outcome.error.code == code
    assert message in outcome.error.message
    assert outcome.retryable == (code != "import_error")
    assert isinstance(await call.pid(), int)


async def test_a_failure_shows_the_functions_own_lines(call: Caller) -> None:
    outcome = await call("raises")
    assert isinstance(outcome, Failed)
    assert outcome.error.detail is not None
    assert "in raises" in outcome.error.detail
    assert "child.py" not in outcome.error.detail


async def test_a_child_is_used_again_and_recycled_after_many_calls(call: Caller) -> None:
    pids = [await call.pid() for _ in range(51)]
    assert len(set(pids[:50])) == 1
    assert pids[50] != pids[0]


async def test_calls_with_other_variables_or_of_other_projects_share_no_child(call: Caller) -> None:
    pids = [await call.pid(), await call.pid(env={"DAY": "1"}), await call.pid(project="other")]
    assert len(set(pids)) == 3
    assert await call.pid(env={"DAY": "1"}) == pids[1]


async def test_a_child_of_another_key_makes_room(call: Caller) -> None:
    pids = [await call.pid(env={"DAY": str(day)}) for day in range(6)]
    assert len(set(pids)) == 6
    assert await call.pid(env={"DAY": "5"}) == pids[5]


async def test_a_waiting_call_does_not_starve_behind_another_key(call: Caller) -> None:
    busy = asyncio.Event()

    async def keep_busy() -> None:
        while not busy.is_set():
            await call("nothing")

    others = [asyncio.create_task(keep_busy()) for _ in range(12)]
    outcome = await call("variables", env={"DAY": "7"})
    busy.set()
    await asyncio.gather(*others)
    assert isinstance(outcome, Succeeded)
    assert outcome.output["DAY"] == "7"


async def test_each_call_has_its_own_variables(call: Caller) -> None:
    pid = await call.pid()
    assert await call("leave_variable") == Succeeded()
    outcome = await call("variables")
    assert isinstance(outcome, Succeeded)
    assert outcome.output["LEFT"] is None
    assert len(outcome.output["ORRERY_RUN_ID"]) == 36
    assert outcome.output["ORRERY_SOURCE"] == str(call.source)
    assert await call.pid() == pid


async def test_a_variable_that_an_import_sets_stays_unless_it_is_the_calls_own(call: Caller) -> None:
    pid = await call.pid(env={"ORRERY_TASK": "a"})
    assert await call("setting:f", env={"ORRERY_TASK": "a"}) == Succeeded(["imported", "kept"])
    assert await call("setting:f", env={"ORRERY_TASK": "a"}) == Succeeded(["a", "kept"])
    assert await call("setting:f", env={"ORRERY_TASK": "b"}) == Succeeded(["b", "kept"])
    assert await call.pid() == pid


async def test_a_variable_that_only_the_last_call_had_is_gone(call: Caller) -> None:
    pid = await call.pid(env={"TRACESTATE": "x"})
    (call.source / "state.py").write_text("import os\ndef f(): return os.environ.get('TRACESTATE')\n")
    assert await call("state:f", env={"TRACESTATE": "x"}) == Succeeded("x")
    assert await call("state:f") == Succeeded(None)
    assert await call.pid() == pid


@pytest.mark.parametrize(
    "function",
    [
        "removes_folder", "renames_folder", "fills_artifacts", "links_here", "wrote_file", "moves", "closes_the_rest",
    ],
)  # fmt: skip
async def test_the_next_call_finds_an_empty_folder_and_no_artifacts(call: Caller, function: str) -> None:
    for _ in range(2):
        pid = await call.pid()
        assert isinstance(await call(function), Succeeded)
        assert await call("nothing") == Succeeded(None)
        assert await call("artifacts") == Succeeded([])
        assert await call("scribble") == Succeeded()
        outcome = await call("here")
        assert isinstance(outcome, Succeeded)
        assert outcome.output[1:] == [[".orrery-artifacts"], True]
        assert await call.pid() == pid


async def test_each_call_begins_in_an_empty_folder_whatever_the_last_one_did(call: Caller) -> None:
    for _ in range(2):
        attempt = call.attempt("here")
        outcome = await call.executor.execute(attempt, CollectedLog())
        assert isinstance(outcome, Succeeded)
        folder, found, artifacts_are_there = outcome.output
        assert (Path(folder).parent, found, artifacts_are_there) == (
            Path(attempt.work_folder).parent,
            [".orrery-artifacts"],
            True,
        )
        assert not Path(attempt.work_folder).exists()
        await call("moves")
        await call("scribble")


async def test_what_a_function_leaves_in_its_folder_is_gone_when_it_has_returned(call: Caller) -> None:
    outcome = await call("here")
    assert isinstance(outcome, Succeeded)
    folder = Path(outcome.output[0])
    assert await call("scribble") == Succeeded()
    assert [path.name for path in folder.iterdir()] == [".orrery-artifacts"]


async def test_output_at_the_level_of_descriptors_reaches_the_log_of_the_call(call: Caller) -> None:
    for _ in range(2):
        _, log = await call.logged("talk")
        assert log.text() == "out\nfrom a child\n"
        assert log.text("stderr") == "err\n"
        _, log = await call.logged("nothing")
        assert log.size == 0


@pytest.mark.parametrize(
    "function",
    [
        "leaves_process", "leaves_daemon", "leaves_thread", "patches", "closes_stdout", "handles_term",
    ],
)  # fmt: skip
async def test_a_call_that_leaves_traces_costs_the_child_not_the_result(call: Caller, function: str) -> None:
    pid = await call.pid()
    assert await call(function) == Succeeded()
    assert await call.pid() != pid


async def test_a_call_that_closes_the_line_costs_the_child_not_the_next_call(call: Caller) -> None:
    pid = await call.pid()
    assert await call("closes_the_line") == Succeeded()
    assert await call.pid() != pid


async def test_a_replaced_stdout_is_put_back(call: Caller) -> None:
    pid = await call.pid()
    assert await call("replaces_stdout") == Succeeded()
    _, log = await call.logged("talk")
    assert "out" in log.text()
    assert await call.pid() == pid


async def test_changed_source_is_imported_anew(call: Caller) -> None:
    module = call.source / "edited.py"
    module.write_text("def f(): return 'old'\n")
    assert await call("edited:f") == Succeeded("old")
    module.write_text("def f(): return 'newer'\n")
    assert await call("edited:f") == Succeeded("newer")


@pytest.mark.parametrize("function", ["sleeps", "deaf", "prints_for_ever"])
async def test_a_timeout_ends_the_child(call: Caller, function: str) -> None:
    await call.pid()
    attempt = call.attempt(function, timeout=0.5)
    began = asyncio.get_running_loop().time()
    outcome = await call.executor.execute(attempt, CollectedLog())
    assert asyncio.get_running_loop().time() - began < 0.5 + attempt.grace + 2
    assert outcome == TimedOut(0.5)
    assert left_behind(attempt) == []
    assert isinstance(await call.pid(), int)


@pytest.mark.parametrize(("reason", "outcome"), [("cancel", Cancelled()), ("shutdown", HandedBack())])
async def test_a_stop_ends_the_child(call: Caller, reason: str, outcome: Outcome) -> None:
    attempt, log = call.attempt("sleeps"), CollectedLog()
    running = asyncio.create_task(call.executor.execute(attempt, log))
    await log.seen("sleeping")
    stop(attempt, reason)
    assert await running == outcome
    assert left_behind(attempt) == []


async def test_calls_that_wait_for_a_child_can_be_stopped(call: Caller) -> None:
    logs = [CollectedLog() for _ in range(3)]
    sleepers = [call.attempt("sleeps") for _ in range(3)]
    running = [
        asyncio.create_task(call.executor.execute(attempt, log)) for attempt, log in zip(sleepers, logs, strict=True)
    ]
    for log in logs:
        await log.seen("sleeping")
    late, cancelled = call.attempt("nothing"), call.attempt("nothing", timeout=0.1)
    waiting = [asyncio.create_task(call.executor.execute(attempt, CollectedLog())) for attempt in (late, cancelled)]
    assert await waiting[1] == TimedOut(0.1)
    stop(late, "shutdown")
    assert await waiting[0] == HandedBack()
    for attempt in sleepers:
        stop(attempt, "cancel")
    assert await asyncio.gather(*running) == [Cancelled()] * 3
    assert isinstance(await call.pid(), int)


async def test_a_cancelled_call_raises_when_its_tree_is_gone(call: Caller) -> None:
    attempt, log = call.attempt("deaf", grace=30.0), CollectedLog()
    running = asyncio.create_task(call.executor.execute(attempt, log))
    await log.seen("deaf")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert left_behind(attempt) == []


async def test_many_calls_share_few_children(call: Caller) -> None:
    outcomes = await asyncio.gather(*(call("echo", {"n": number}) for number in range(120)))
    assert outcomes == [Succeeded({"n": number}) for number in range(120)]
    pids = await asyncio.gather(*(call.pid() for _ in range(40)))
    assert len(set(pids)) <= 6


async def test_calls_that_wait_for_one_another_get_a_child_each_however_quick_the_last_ones_were(
    call: Caller, tmp_path: Path
) -> None:
    for _ in range(3):
        await asyncio.gather(*(call("nothing") for _ in range(30)))
        meeting = tmp_path / "meeting"
        meeting.mkdir()
        args = {"folder": str(meeting), "number": 3}
        outcomes = await asyncio.gather(*(call("meets", {**args, "name": str(number)}) for number in range(3)))
        assert outcomes == [Succeeded()] * 3
        shutil.rmtree(meeting)


async def test_an_interpreter_that_is_not_there_is_a_spawn_error(tmp_path: Path, source: Path) -> None:
    executor = PythonExecutor(Supervisor(), interpreter="/nonexistent/python")
    await executor.open()
    outcome = await Caller(executor, tmp_path, source)("pid")
    await executor.close()
    assert isinstance(outcome, Failed)
    assert outcome.error.code == "spawn_error"


async def test_the_interpreter_of_the_tasks_may_be_another(tmp_path: Path, source: Path) -> None:
    (source / "which.py").write_text("import sys\ndef f(): return sys.executable\n")
    link = tmp_path / "other-python"
    link.symlink_to(sys.executable)
    executor = PythonExecutor(Supervisor(), interpreter=str(link))
    await executor.open()
    outcome = await Caller(executor, tmp_path, source)("which:f")
    await executor.close()
    assert outcome == Succeeded(str(link))


async def test_idle_children_end(tmp_path: Path, source: Path) -> None:
    executor = PythonExecutor(Supervisor(), idle_seconds=0.0)
    await executor.open()
    caller = Caller(executor, tmp_path, source)
    pid = await caller.pid()
    executor._pool._end_idle()
    assert await caller.pid() != pid
    await executor.close()
