"""What the command line says to a wrong one, and how it ends."""

import pytest

from orrery.cli.main import COMMANDS, NOT_AVAILABLE
from tests.support.command_line import CommandLine


def test_an_unknown_command_is_a_usage_error(orrery: CommandLine) -> None:
    finished = orrery("frobnicate")
    assert (finished.code, finished.out) == (2, "")
    assert finished.err.startswith('orrery: Unknown command "frobnicate"')
    assert finished.err.count("\n") == 1


@pytest.mark.parametrize(
    "argv", [("runs", "--jsn"), ("show",), ("runs", "--limit", "x"), ("runs", "a", "b"), ("import", "x")]
)
def test_a_wrong_command_line_is_one_line_and_exit_code_2(orrery: CommandLine, argv: tuple[str, ...]) -> None:
    finished = orrery(*argv)
    assert (finished.code, finished.out, finished.err.count("\n")) == (2, "", 1)


@pytest.mark.parametrize("name", NOT_AVAILABLE)
def test_a_command_of_a_later_version_is_refused_by_name(orrery: CommandLine, name: str) -> None:
    finished = orrery(name, "x", "--some", "option")
    assert (finished.code, finished.err) == (2, f"orrery: orrery {name} is not available yet in this version\n")


def test_wrong_settings_are_named_one_per_line(orrery: CommandLine) -> None:
    orrery.environ.update({"ORRERY_API_PRT": "1", "ORRERY_WORKER_SLOTS": "0"})
    finished = orrery("workflows")
    assert finished.code == 2
    assert finished.err.splitlines() == [
        "orrery: ORRERY_API_PRT is not a setting; did you mean ORRERY_API_PORT?",
        "orrery: ORRERY_WORKER_SLOTS must be a whole number from 1 to 1000",
    ]


def test_the_configuration_file_may_be_named_before_or_after_the_command(orrery: CommandLine) -> None:
    for argv in (("--config", "gone.toml", "config"), ("config", "--config", "gone.toml")):
        assert orrery(*argv).err == "orrery: gone.toml cannot be read: No such file or directory\n"


def test_help_lists_every_command_that_there_is(orrery: CommandLine) -> None:
    finished = orrery("--help")
    assert finished.code == 0
    for commands in COMMANDS.values():
        assert all(f"  {name.split()[0]}: " in finished.out for name in commands)
    assert "replay" not in finished.out


def test_config_shows_every_setting_and_no_secret(orrery: CommandLine) -> None:
    orrery.environ["ORRERY_SECRET__TOKEN"] = "hunter2"
    finished = orrery("config")
    assert finished.code == 0
    assert "ORRERY_HEARTBEAT_SECONDS" in finished.out
    assert "hunter2" not in finished.out


@pytest.mark.parametrize("command", ["api", "dispatcher", "worker"])
def test_a_part_of_many_refuses_a_store_that_only_one_process_can_use(orrery: CommandLine, command: str) -> None:
    finished = orrery(command)
    assert finished.code == 2
    assert "ORRERY_DATABASE_URL=postgresql://" in finished.err
    assert "ORRERY_BROKER_URL=amqp://" in finished.err


def test_one_process_refuses_the_settings_of_many(orrery: CommandLine) -> None:
    orrery.environ.update({"ORRERY_DATABASE_URL": "postgresql://u:p@h/d", "ORRERY_BROKER_URL": "amqp://h"})
    finished = orrery("up")
    assert finished.code == 2
    assert "ORRERY_DATABASE_URL must be sqlite" in finished.err
    assert "ORRERY_BROKER_URL has no place in orrery up" in finished.err
