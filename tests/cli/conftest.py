"""A command line in an empty folder, and a server with canned answers that it talks to."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.canned_server import CannedServer, canned_server
from tests.support.command_line import CommandLine


@pytest.fixture
def orrery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    monkeypatch.chdir(tmp_path)
    return CommandLine()


@pytest.fixture
def server(orrery: CommandLine) -> Iterator[CannedServer]:
    with canned_server() as canned:
        orrery.environ.update({"ORRERY_URL": canned.url, "ORRERY_API_KEY": "ork_test"})
        yield canned
