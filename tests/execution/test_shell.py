"""What a script gets, what is made of how it ends, and what becomes of what it prints."""

import asyncio
import os
import resource
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from scheduler_domain.run.outcome import Failed, Succeeded, TimedOut
from scheduler_infrastructure.execution import surroundings
from scheduler_infrastructure.execution.shell import ShellExecutor
from scheduler_infrastructure.execution.supervision.supervisor import Limits, Supervisor
from tests.support.attempts import CollectedLog, StuckLog, an_attempt, stop


@pytest.fixture
async def shell(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ShellExecutor]:
    monkeypatch.setenv("ORRERY_SECRET_OF_THE_WORKER", "x")
    executor = ShellExecutor(Supervisor(Limits(open_files=256)))
    await executor.open()
    yield executor
    await executor.close()


async def run(shell: ShellExecutor, folder: Path, script: str, **changes: object) -> tuple[object, CollectedLog]:
    log = CollectedLog()
    outcome = await asyncio.wait_for(shell.execute(an_attempt("shell", {"script": script}, folder, **changes), log), 50)
    return outcome, log


async def test_the_environment_is_the_tasks_own(shell: ShellExecutor, tmp_path: Path) -> None:
    _, log = await run(shell, tmp_path, "env", env={"DAY": "2027-01-01"}, source=tmp_path)
    names = {line.partition("=")[0] for line in log.text().splitlines()}
    ours = {"ORRERY_RUN_ID", "ORRERY_OUTPUT", "ORRERY_ARTIFACTS", "ORRERY_SOURCE"}
    assert names - {"PWD", "_", "SHLVL", "OLDPWD"} == {"DAY", "PATH", "HOME", "LANG"} | ours


async def test_the_work_folder_is_empty_and_current(shell: ShellExecutor, tmp_path: Path) -> None:
    outcome, log = await run(shell, tmp_path, 'ls; pwd; test -d "$ORRERY_ARTIFACTS"')
    assert outcome == Succeeded()
    assert Path(log.text().strip()).parent == tmp_path


async def test_nothing_of_the_worker_leaks_into_a_task(shell: ShellExecutor, tmp_path: Path) -> None:
    leaking = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(leaking, True)
    try:
        _, log = await run(
            shell, tmp_path, "ls /proc/self/fd | tr '\\n' ' '; readlink /proc/self/fd/0; ulimit -c; ulimit -n"
        )
    finally:
        os.close(leaking)
    # 3 is the folder that ls reads.
    assert log.text().split() == ["0", "1", "2", "3", "/dev/null", "0", "256"]


async def test_no_signal_is_kept_from_a_task(shell: ShellExecutor, tmp_path: Path) -> None:
    _, log = await run(shell, tmp_path, "grep SigBlk /proc/self/status")
    assert int(log.text().split()[1], 16) == 0


async def test_a_script_is_scheduled_as_batch_work(shell: ShellExecutor, tmp_path: Path) -> None:
    _, log = await run(shell, tmp_path, "chrt --pid $$")
    assert "SCHED_BATCH" in log.text()


async def test_the_first_line_of_a_script_is_the_first_line(shell: ShellExecutor, tmp_path: Path) -> None:
    _, log = await run(shell, tmp_path, "#!/bin/sh\n\nif true; then no-such-command; fi")
    assert " 3: no-such-command: not found" in log.text("stderr")
    for script in ("", "# nothing", "\n\n", "if true\nthen\n:\nfi"):
        assert (await run(shell, tmp_path, script))[0] == Succeeded()


async def test_a_folder_in_which_nothing_was_left_is_the_next_ones_too(shell: ShellExecutor, tmp_path: Path) -> None:
    first = await _folder(shell, tmp_path, 'echo \'{"a": 1}\' > "$ORRERY_OUTPUT"')
    assert await _folder(shell, tmp_path, "mkdir sub && rmdir sub") == first
    assert await _folder(shell, tmp_path, "true") == first


@pytest.mark.parametrize(
    "script",
    [
        "touch left",
        'touch "$ORRERY_ARTIFACTS/left"',
        "mkdir -p a/b && chmod 0 a/b a",
        "chmod 0 .",
        "chmod 750 .",
        'rmdir "$ORRERY_ARTIFACTS"',
        'rmdir "$ORRERY_ARTIFACTS" && ln -s / "$ORRERY_ARTIFACTS"',
        'mkdir "$ORRERY_OUTPUT.d" && mv "$ORRERY_OUTPUT.d" kept',
        'cd .. && mv "$HOME" "$HOME.moved" && mkdir -p "$HOME/.orrery-artifacts"',
        "false",
    ],
)
async def test_nobody_finds_what_another_left(shell: ShellExecutor, tmp_path: Path, script: str) -> None:
    first = await _folder(shell, tmp_path, script)
    for _ in range(2):
        second = await _folder(shell, tmp_path, "true")
        assert second != first
        _, log = await run(shell, tmp_path, 'ls -A; ls -A "$ORRERY_ARTIFACTS"; stat -c %a . "$ORRERY_ARTIFACTS"')
        assert log.text().split() == [".orrery-artifacts", "700", "700"]


async def test_a_folder_that_somebody_touched_in_between_is_not_used_again(
    shell: ShellExecutor, tmp_path: Path
) -> None:
    first = Path(await _folder(shell, tmp_path, "true"))
    (first / ".profile").write_text("echo planted")
    assert await _folder(shell, tmp_path, "true") != str(first)
    assert not first.exists()


@pytest.mark.parametrize(
    "script", ["touch left", 'touch "$ORRERY_ARTIFACTS/left"', "chmod 750 .", "mkdir a && rmdir a"]
)
async def test_a_folder_that_has_not_changed_for_long_is_not_listed(
    shell: ShellExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    monkeypatch.setattr(surroundings, "LONGEST_TICK_SECONDS", 0.0)
    first = await _folder(shell, tmp_path, "true")
    _until_the_clock_of_files_has_ticked(Path(first))
    with monkeypatch.context() as patched:
        patched.setattr(os, "listdir", _must_not_be_called)
        assert await _folder(shell, tmp_path, "true") == first
    assert await _folder(shell, tmp_path, script) == first
    _, log = await run(shell, tmp_path, 'ls -A; ls -A "$ORRERY_ARTIFACTS"; stat -c %a .')
    assert log.text().split() == [".orrery-artifacts", "700"]


def _must_not_be_called(path: str) -> list[str]:
    raise AssertionError(f"{path} was listed")


def _until_the_clock_of_files_has_ticked(folder: Path) -> None:
    beside = folder.parent / "clock"
    while True:
        beside.touch()
        if beside.stat().st_ctime_ns > folder.stat().st_ctime_ns:
            return


async def test_folders_are_gone_when_the_executor_is_closed(tmp_path: Path) -> None:
    executor = ShellExecutor(Supervisor())
    await executor.open()
    folders = {await _folder(executor, tmp_path, "true") for _ in range(3)}
    assert all(Path(folder).exists() for folder in folders)
    await executor.close()
    assert not any(Path(folder).exists() for folder in folders)


async def _folder(shell: ShellExecutor, tmp_path: Path, script: str) -> str:
    """Where the script ran."""
    _, log = await run(shell, tmp_path, f'echo "$HOME"\n{script}')
    return log.text("stdout").splitlines()[0]


async def test_the_script_is_not_in_the_argument_list(shell: ShellExecutor, tmp_path: Path) -> None:
    _, log = await run(shell, tmp_path, "# hunter2\ntr '\\0' ' ' < /proc/$$/cmdline", env={"TOKEN": "hunter3"})
    assert log.text().startswith("/bin/sh -e ")
    assert "hunter" not in log.text()


async def test_both_streams_are_logged_apart(shell: ShellExecutor, tmp_path: Path) -> None:
    _, log = await run(shell, tmp_path, "echo out; echo err >&2")
    assert (log.text("stdout"), log.text("stderr")) == ("out\n", "err\n")


async def test_output_arrives_while_the_task_is_running(shell: ShellExecutor, tmp_path: Path) -> None:
    log = CollectedLog()
    attempt = an_attempt("shell", {"script": "printf 'no newline'; sleep 1000"}, tmp_path)
    running = asyncio.create_task(shell.execute(attempt, log))
    await log.seen("no newline")
    assert not running.done()
    stop(attempt, "cancel")
    await running


@pytest.mark.parametrize(
    ("script", "output"),
    [
        ("true", None),
        (': > "$ORRERY_OUTPUT"', None),
        ('echo \'{"rows": 1200}\' > "$ORRERY_OUTPUT"', {"rows": 1200}),
        ('echo \'[1.5, "ä"]\' > "$ORRERY_OUTPUT"', [1.5, "ä"]),
    ],
)
async def test_the_output_file_becomes_the_output(
    shell: ShellExecutor, tmp_path: Path, script: str, output: object
) -> None:
    assert (await run(shell, tmp_path, script))[0] == Succeeded(output)


@pytest.mark.parametrize(
    "script",
    [
        'echo "{" > "$ORRERY_OUTPUT"',
        'echo NaN > "$ORRERY_OUTPUT"',
        'printf \'"\\\\u0000"\' > "$ORRERY_OUTPUT"',
        'printf \'"\\\\ud800"\' > "$ORRERY_OUTPUT"',
        'printf \'"\\377"\' > "$ORRERY_OUTPUT"',
        'echo 18446744073709551616 > "$ORRERY_OUTPUT"',
        "head -c 100000 /dev/zero | tr '\\0' '[' > \"$ORRERY_OUTPUT\"",
        'printf "[%.0s" $(seq 40) > "$ORRERY_OUTPUT"; printf "]%.0s" $(seq 40) >> "$ORRERY_OUTPUT"',
        "head -c 70000 /dev/zero | tr '\\0' '1' > \"$ORRERY_OUTPUT\"",
        'mkdir "$ORRERY_OUTPUT"',
        'ln -s /etc/hostname "$ORRERY_OUTPUT"',
        'mkfifo "$ORRERY_OUTPUT"; exit 0',
    ],
)
async def test_an_output_that_cannot_be_kept_fails_the_attempt(
    shell: ShellExecutor, tmp_path: Path, script: str
) -> None:
    outcome, _ = await run(shell, tmp_path, script)
    if "mkfifo" in script:
        assert outcome == Succeeded()  # Nobody wrote into it; what matters is that reading it does not hang.
        return
    assert isinstance(outcome, Failed)
    assert outcome.error.code == "invalid_output"


async def test_the_first_failing_command_fails_the_task(shell: ShellExecutor, tmp_path: Path) -> None:
    outcome, log = await run(shell, tmp_path, "echo one; echo broken >&2; (exit 75); echo two")
    assert isinstance(outcome, Failed)
    assert (outcome.error.code, outcome.error.exit_code) == ("exit_code", 75)
    assert outcome.error.detail == "broken"
    assert outcome.retryable
    assert log.text() == "one\n"


async def test_only_the_end_of_stderr_is_kept_as_detail(shell: ShellExecutor, tmp_path: Path) -> None:
    outcome, _ = await run(shell, tmp_path, "seq 1 100000 >&2; exit 1")
    assert isinstance(outcome, Failed)
    assert outcome.error.detail is not None
    assert outcome.error.detail.endswith("99999\n100000")
    assert len(outcome.error.detail) <= 4000


async def test_a_signal_is_named(shell: ShellExecutor, tmp_path: Path) -> None:
    outcome, _ = await run(shell, tmp_path, "kill -SEGV $$")
    assert isinstance(outcome, Failed)
    assert outcome.error.code == "killed_by_signal"
    assert "SIGSEGV" in outcome.error.message


@pytest.mark.parametrize(
    ("changes", "retryable"),
    [
        ({"env": {"BIG": "x" * 300_000}}, False),
        ({"env": {"A": "nul\x00"}}, False),
        ({"env": {"A=B": "c"}}, False),
        ({"env": {"A": "\ud800"}}, False),
        ({"work_folder": "/nonexistent/folder"}, True),
    ],
)
async def test_what_cannot_be_started_is_a_spawn_error(
    shell: ShellExecutor, tmp_path: Path, changes: dict[str, object], retryable: bool
) -> None:
    outcome, _ = await run(shell, tmp_path, "true", **changes)
    assert isinstance(outcome, Failed)
    assert (outcome.error.code, outcome.retryable) == ("spawn_error", retryable)


async def test_a_missing_interpreter_is_a_spawn_error(tmp_path: Path) -> None:
    shell = ShellExecutor(Supervisor(), interpreter="/nonexistent/sh")
    await shell.open()
    outcome, _ = await run(shell, tmp_path, "true")
    await shell.close()
    assert isinstance(outcome, Failed)
    assert outcome.error.code == "spawn_error"
    assert "/nonexistent/sh" in outcome.error.message


async def test_a_large_environment_arrives_whole(shell: ShellExecutor, tmp_path: Path) -> None:
    parts = {f"PART_{number}": "x" * 100_000 for number in range(6)}
    _, log = await run(shell, tmp_path, "echo ${#PART_0} ${#PART_5}", env=parts)
    assert log.text() == "100000 100000\n"


async def test_a_gigabyte_without_a_newline_does_not_grow_the_worker(shell: ShellExecutor, tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcome, log = await run(shell, tmp_path, "head -c 1073741824 /dev/zero")
    assert outcome == Succeeded()
    assert log.size == 1024**3
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024


async def test_a_stuck_log_does_not_hold_up_a_timeout(shell: ShellExecutor, tmp_path: Path) -> None:
    attempt = an_attempt("shell", {"script": "yes"}, tmp_path, timeout=0.2)
    assert await asyncio.wait_for(shell.execute(attempt, StuckLog()), 0.2 + attempt.grace + 2) == TimedOut(0.2)


async def test_a_log_that_fails_does_not_fail_the_task(shell: ShellExecutor, tmp_path: Path) -> None:
    class BrokenLog:
        async def write(self, stream: str, data: bytes) -> None:
            raise OSError("disk full")

    attempt = an_attempt("shell", {"script": "seq 1 100000"}, tmp_path)
    assert await asyncio.wait_for(shell.execute(attempt, BrokenLog()), 20) == Succeeded()


async def test_many_scripts_run_at_once(shell: ShellExecutor, tmp_path: Path) -> None:
    scripts = [f'echo {number} > "$ORRERY_OUTPUT"' for number in range(60)]
    outcomes = await asyncio.gather(*(run(shell, tmp_path, script) for script in scripts))
    assert [outcome for outcome, _ in outcomes] == [Succeeded(number) for number in range(60)]
