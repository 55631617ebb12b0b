"""The page about calendars: every command on it is run against a real server, and prints what the page shows."""

import re
import shlex
from collections.abc import Iterator

from tests.acceptance.conftest import Stacks
from tests.architecture.source import ROOT
from tests.support.canned_server import canned_server
from tests.support.stack import Stack

PAGE = (ROOT / "docs/concepts/calendars.md").read_text()
PUBLISHED = "https://example.com/fair.ics"


def examples() -> Iterator[tuple[str, list[str]]]:
    """Each command with the lines that it prints."""
    for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL):
        for example in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *lines = example.splitlines()
            yield command, [line for line in lines if line]


async def test_every_example_does_what_the_page_shows(stacks: Stacks) -> None:
    (file,) = re.findall(r"```ics\n(.*?)```", PAGE, re.DOTALL)
    with canned_server() as server:
        server.on("GET /fair.ics", (200, file.encode()))
        stack: Stack = stacks(HTTP_ALLOWED_NETWORKS="127.0.0.0/8")
        (stack.folder / "fair.ics").write_text(file)
        await stack.start("up").ready()
        published = f"{server.url}/fair.ics"
        commands = list(examples())
        assert len(commands) == PAGE.count("\n$ orrery ")
        for command, shown in commands:
            program, *arguments = shlex.split(command.replace(PUBLISHED, published))
            assert program == "orrery"
            finished = stack.cli(*arguments)
            printed = (finished.stdout + finished.stderr).replace(published, PUBLISHED)
            # Columns are as wide as they must be, and what the clock says is not on the page.
            lines = [" ".join(line.split()) for line in printed.splitlines()]
            for line in shown:
                expected = " ".join(line.split())
                assert any(found.startswith(expected) for found in lines), f"$ {command}\n{line}\n--\n{printed}"
            days = [line for line in lines if re.match(r"\d{4}-\d\d-\d\d", line)]
            assert len(days) == len([line for line in shown if re.match(r"\d{4}-\d\d-\d\d", line)]), printed
