"""An imported command runs as cron would run it: shell, arguments, standard input, environment, folder."""

import os
import pwd
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scheduler_application.importing.crontab import Form
from scheduler_application.importing.yaml_writing import write_yaml
from scheduler_application.workflow.document import parse_document
from scheduler_domain.run.outcome import Failed
from scheduler_infrastructure.execution.shell import ShellExecutor
from scheduler_infrastructure.execution.supervision.supervisor import Limits, Supervisor
from tests.support.attempts import CollectedLog, an_attempt
from tests.support.crontabs import only_document

RECORDER = """#!{python} -ISs
import os, pathlib, sys
out = pathlib.Path(os.environ["OUT"])
(out / "arguments").write_bytes(b"\\0".join(os.fsencode(each) for each in sys.argv[1:]))
(out / "stdin").write_bytes(sys.stdin.buffer.read())
(out / "environment").write_bytes(b"".join(name + b"=" + value + b"\\0" for name, value in os.environb.items()))
(out / "folder").write_text(os.getcwd())
"""
ME = pwd.getpwuid(os.getuid())


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shell that writes down how it was called."""
    path = tmp_path_factory.mktemp("recorder") / "sh"
    path.write_text(RECORDER.format(python=sys.executable))
    path.chmod(0o755)
    return path


def rendered(document: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """Script and environment as a worker gets them, through the document's text."""
    task = parse_document(write_yaml(document)).definition.tasks["command"]
    return task.settings.render({})["script"], {name: value.render({}) for name, value in task.env.items()}


def environment_in(folder: Path) -> dict[str, str]:
    pairs = (folder / "environment").read_bytes().decode().split("\0")[:-1]
    return dict(pair.split("=", 1) for pair in pairs)


def start(document: Mapping[str, Any], folder: Path) -> None:
    script, env = rendered(document)
    base = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(folder), "LANG": "C.UTF-8"}
    subprocess.run(["/bin/sh", "-e", "-c", script], env=base | env, cwd=folder, check=True, timeout=60)


LINES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=60) | st.text(
    "ab \t$'\"\\`{}()%;&|<>#~!*?=-", max_size=30
)


@given(command=LINES, lines=st.none() | st.lists(LINES, max_size=4), value=LINES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_command_input_and_variables_arrive_byte_for_byte(
    recorder: Path, tmp_path: Path, command: str, lines: list[str] | None, value: str
) -> None:
    command, value = f"x{command}", value.replace("'", "")
    written = command.replace("\\", "\\\\").replace("%", "\\%")
    stdin = ""
    if lines is not None:
        # A backslash in the input is taken as it is, so one before a newline cannot be said.
        stdin = "".join(f"{line.replace(chr(92), '/')}\n" for line in lines)
        written += "%" + stdin.replace("%", "\\%").replace("\n", "%")
    crontab = f"SHELL={recorder}\nOUT={tmp_path}\nVALUE='x{value}x'\n'ODD NAME'='{value}x'\n0 1 * * * {written}\n"
    start(only_document(crontab), tmp_path)
    assert (tmp_path / "arguments").read_bytes().decode().split("\0") == ["-c", command]
    assert (tmp_path / "stdin").read_bytes().decode() == stdin
    environment = environment_in(tmp_path)
    assert environment["VALUE"] == f"x{value}x"
    assert environment["ODD NAME"] == f"{value}x"


def test_the_environment_is_crons(recorder: Path, tmp_path: Path) -> None:
    crontab = f"SHELL={recorder}\nOUT={tmp_path}\nBASH_ENV=/x\nMAILTO=me\nD=$HOME/${{{{ x }}}}\n0 1 * * * a\n"
    start(only_document(crontab), tmp_path)
    environment = environment_in(tmp_path)
    ours = {"CRON_COMMAND": "a", "OUT": str(tmp_path), "LANG": "C.UTF-8", "PWD": ME.pw_dir}
    assert {name: value for name, value in environment.items() if name not in {"_", "OLDPWD"}} == {
        **ours,
        "SHELL": str(recorder),
        "PATH": "/usr/bin:/bin",
        "LOGNAME": ME.pw_name,
        "HOME": ME.pw_dir,
        "BASH_ENV": "/x",
        "D": "$HOME/${{ x }}",
    }
    assert (tmp_path / "folder").read_text().strip() == ME.pw_dir


def test_path_and_home_of_the_crontab_win_and_logname_does_not(recorder: Path, tmp_path: Path) -> None:
    crontab = (
        f"SHELL={recorder}\nOUT={tmp_path}\nPATH=/opt/x:$PATH\nHOME={tmp_path}\nLOGNAME=liar\n0 1 * * * nobody a\n"
    )
    start(only_document(crontab, Form.SYSTEM), tmp_path)
    environment = environment_in(tmp_path)
    assert (environment["PATH"], environment["HOME"]) == ("/opt/x:$PATH", str(tmp_path))
    assert environment["LOGNAME"] == "nobody"
    assert Path((tmp_path / "folder").read_text().strip()) == tmp_path


def test_home_is_that_of_the_entrys_user(recorder: Path, tmp_path: Path) -> None:
    start(only_document(f"SHELL={recorder}\nOUT={tmp_path}\n0 1 * * * daemon a\n", Form.SYSTEM), tmp_path)
    assert environment_in(tmp_path)["HOME"] == pwd.getpwnam("daemon").pw_dir


def test_an_unknown_user_leaves_the_tasks_own_folder(recorder: Path, tmp_path: Path) -> None:
    start(only_document(f"SHELL={recorder}\nOUT={tmp_path}\n0 1 * * * nosuchuser a\n", Form.SYSTEM), tmp_path)
    assert environment_in(tmp_path)["HOME"] == str(tmp_path)
    assert (tmp_path / "folder").read_text().strip() == str(tmp_path)


def test_anacron_starts_in_the_root_folder_by_sh_whatever_shell_says(tmp_path: Path) -> None:
    crontab = f"SHELL=/bin/false\nHOME=/h\n1 5 job pwd > {tmp_path}/folder; env -0 > {tmp_path}/environment\n"
    start(only_document(crontab, Form.ANACRON), tmp_path)
    assert (tmp_path / "folder").read_text().strip() == "/"
    assert environment_in(tmp_path)["HOME"] == "/h"


@pytest.fixture
async def shell() -> AsyncIterator[ShellExecutor]:
    executor = ShellExecutor(Supervisor(Limits(open_files=256)))
    await executor.open()
    yield executor
    await executor.close()


@pytest.mark.parametrize(
    ("command", "exit_code", "printed"),
    [
        ("false; echo went on", 0, "went on"),
        ("cat; exit 3%one%two", 3, "one\ntwo"),
        ('read line; echo "got $line"%one', 0, "got one"),
        ("echo '${{ secrets.X }}' \"$(date +\\%Y | wc -c)\"", 0, "${{ secrets.X }} 5"),
        ("cat", 0, ""),
    ],
)
async def test_a_worker_runs_it_as_cron_does(
    shell: ShellExecutor, tmp_path: Path, command: str, exit_code: int, printed: str
) -> None:
    script, env = rendered(only_document(f"HOME={shlex.quote(str(tmp_path))}\n0 1 * * * {command}\n"))
    log = CollectedLog()
    ended = await shell.execute(an_attempt("shell", {"script": script}, tmp_path, env=env), log)
    assert (ended.error.exit_code if isinstance(ended, Failed) else 0) == exit_code
    assert log.text().strip() == printed
