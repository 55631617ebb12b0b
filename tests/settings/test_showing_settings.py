"""What people see of settings: everything but secrets."""

import re
from pathlib import Path

import pytest

from scheduler_infrastructure.bootstrap.setting_rows import describe
from scheduler_infrastructure.bootstrap.settings import load_settings, setting_fields

ENVIRON = {
    "ORRERY_DATABASE_URL": "postgresql://orrery:hunter2@db:5432/orrery?sslmode=require&password=hunter2",
    "ORRERY_BROKER_URL": "amqp://guest:hunter2@mq/",
    "ORRERY_API_KEY": "hunter2",
    "ORRERY_SECRET__TOKEN": "hunter2",
    "ORRERY_VAR__REGION": "hunter2",
    "ORRERY_CONNECTION__warehouse": "postgresql://u:hunter2@w/w",
}


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_no_secret_is_shown() -> None:
    settings = load_settings(ENVIRON)
    rows = describe(settings)
    assert "hunter2" not in repr(rows) + repr(settings) + str(settings)
    shown = {row.name: row.value for row in rows}
    assert shown["ORRERY_DATABASE_URL"] == "postgresql://orrery:***@db:5432/orrery?sslmode=require&password=***"
    assert shown["ORRERY_BROKER_URL"] == "amqp://guest:***@mq/"
    assert shown["ORRERY_SECRET__TOKEN"] == "***"
    assert shown["ORRERY_CONNECTION__warehouse"] == "postgresql://u:***@w/w"


def test_every_setting_has_a_row_with_its_source() -> None:
    rows = {row.name: row for row in describe(load_settings({"ORRERY_API_PORT": "9000"}))}
    single = {f"ORRERY_{name.upper()}" for name, entry in setting_fields().items() if "variable" not in entry.metadata}
    assert set(rows) == single
    assert (rows["ORRERY_API_PORT"].value, rows["ORRERY_API_PORT"].source) == ("9000", "environment")
    assert rows["ORRERY_HEARTBEAT_SECONDS"].source == "default"
    assert rows["ORRERY_HEARTBEAT_SECONDS"].unit == "s"
    assert rows["ORRERY_LOG_LIMIT_BYTES"].default == "10485760"


def test_the_default_of_a_url_is_told_without_a_path_of_this_machine() -> None:
    rows = {row.name: row for row in describe(load_settings({}))}
    assert not re.search(r"/\w+/", rows["ORRERY_DATABASE_URL"].default)
