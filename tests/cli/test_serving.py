"""What every server does around its work: the data folder, the admin's file, the end."""

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from orrery.cli.failures import CommandFailed
from orrery.connection import local_admin_key
from orrery.server.data_folder import held_data_folder, make_data_folder, write_admin_file
from orrery.server.signals import run_together, run_until_stopped


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_data_folder_is_its_owners_alone_and_held_by_one(tmp_path: Path) -> None:
    folder = tmp_path / "new/data"
    with held_data_folder(folder):
        assert mode(folder) == 0o700
        with pytest.raises(CommandFailed, match=f"process {os.getpid()}"), held_data_folder(folder):
            raise AssertionError("two hold one folder")
    with held_data_folder(folder):
        pass


def test_a_killed_holder_leaves_no_lock_behind(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib, signal\nfrom orrery.server.data_folder import held_data_folder\n"
        "with held_data_folder(pathlib.Path(sys.argv[1])):\n    print('held', flush=True)\n    signal.pause()\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(CommandFailed, match=f"process {holder.pid}"), held_data_folder(tmp_path):
        raise AssertionError("two hold one folder")
    holder.kill()
    holder.wait(timeout=10)
    holder.stdout.close()
    with held_data_folder(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CommandFailed, match="cannot be made"):
        make_data_folder(tmp_path / "file")


def test_the_admins_file_is_whole_and_secret(tmp_path: Path) -> None:
    file = write_admin_file(tmp_path, "ork_key")
    assert mode(file) == 0o600
    assert set(json.loads(file.read_text())) == {"user", "password", "api_key"}
    assert local_admin_key(tmp_path) == "ork_key"
    assert [entry.name for entry in tmp_path.iterdir()] == ["admin.json"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_server_end_in_its_own_time(number: signal.Signals) -> None:
    seen: list[str] = []

    async def main(stop: asyncio.Event) -> None:
        os.kill(os.getpid(), number)
        await stop.wait()
        seen.append("ended by itself")

    assert run_until_stopped(main) == 0
    assert seen == ["ended by itself"]


def test_a_signal_that_a_wrapper_forwards_as_well_is_one_signal() -> None:
    ended = []

    async def main(stop: asyncio.Event) -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
            await stop.wait()
        ended.append("gracefully")

    assert run_until_stopped(main) == 0
    assert ended == ["gracefully"]


def test_a_second_signal_ends_at_once() -> None:
    async def main(stop: asyncio.Event) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await stop.wait()
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.Event().wait()

    with pytest.raises(KeyboardInterrupt):
        run_until_stopped(main)


def test_what_a_server_cannot_do_is_one_line() -> None:
    async def main(stop: asyncio.Event) -> None:
        raise ConnectionRefusedError(111, "nobody listens")

    with pytest.raises(CommandFailed, match="nobody listens"):
        run_until_stopped(main)


async def test_a_part_that_fails_lets_the_others_end_gracefully() -> None:
    stop = asyncio.Event()
    ended: list[str] = []

    async def failing() -> None:
        raise RuntimeError("broken")

    async def working() -> None:
        await stop.wait()
        ended.append("gracefully")

    with pytest.raises(RuntimeError, match="broken"):
        await run_together(stop, working(), failing())
    assert ended == ["gracefully"]
