"""The command as a process: signals, pipes and what a terminal sees."""

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

from tests.support.canned_server import CannedServer
from tests.support.command_line import CommandLine

RUN = "0190aaaa-0000-7000-8000-000000000001"


def start(orrery: CommandLine, *argv: str, **options: object) -> "subprocess.Popen[str]":
    environ = {"PATH": os.environ["PATH"], **orrery.environ}
    command = [str(Path(sys.executable).parent / "orrery"), *argv]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen(command, env=environ, text=True, **streams)  # type: ignore[call-overload,no-any-return]


def test_ctrl_c_ends_a_waiting_command_with_130_and_no_traceback(orrery: CommandLine, server: CannedServer) -> None:
    server.on("POST /workflows/report/run", (202, {"run_id": RUN, "state": "running"}))
    server.on(f"GET /runs/{RUN}", (200, {"state": "running"}))
    process = start(orrery, "run", "report", "--wait")
    assert process.stdout is not None
    assert process.stdout.readline() == f"{RUN}\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert (process.returncode, err) == (130, "")


def test_a_reader_that_goes_away_is_no_failure(orrery: CommandLine, server: CannedServer) -> None:
    line = {"task": "a", "item_index": None, "text": "x" * 1000, "truncated": False}
    server.on(f"GET /runs/{RUN}/logs", (200, {"items": [line] * 999, "next_cursor": "1", "finished": True}))
    process = start(orrery, "logs", RUN)
    assert process.stdout is not None
    process.stdout.read(1)
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(timeout=10) == 0


def on_a_terminal(orrery: CommandLine, *argv: str) -> str:
    terminal, stdout = pty.openpty()
    process = start(orrery, *argv, stdout=stdout)
    os.close(stdout)
    shown = b""
    try:
        while chunk := os.read(terminal, 4096):
            shown += chunk
    except OSError:
        pass  # Linux says EIO when the other end of a terminal is closed
    os.close(terminal)
    process.communicate(timeout=10)
    return shown.decode()


def test_a_terminal_gets_colours_unless_it_asks_for_none(orrery: CommandLine, server: CannedServer) -> None:
    queue = {"name": "a\x1b[2J", "ready": 1, "running": 0, "oldest_ready_at": None, "workers": 0, "slots": 0}
    server.on("GET /queues", (200, {"items": [queue]}))
    orrery.environ["TERM"] = "xterm-256color"
    coloured = on_a_terminal(orrery, "queues")
    assert "\x1b[1m" in coloured
    orrery.environ["NO_COLOR"] = "1"
    plain = on_a_terminal(orrery, "queues")
    assert "\x1b" not in plain
    assert "a\\x1b[2J" in plain
    assert "a\\x1b[2J" in coloured


def test_only_what_a_command_needs_is_imported() -> None:
    code = (
        "import sys, orrery.cli.main, orrery, orrery.loading\n"
        "print(sorted(name for name in sys.modules if name.startswith(('scheduler_', 'orrery.server'))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout == "[]\n"
