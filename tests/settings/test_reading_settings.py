"""Where settings come from, and what is said about wrong ones."""

from pathlib import Path

import pytest

from scheduler_infrastructure.bootstrap.settings import Settings, SettingsError, load_settings, setting_fields


def problems(environ: dict[str, str], config_file: Path | None = None) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load_settings(environ, config_file)
    return caught.value.problems


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def config(text: str, mode: int = 0o600) -> Path:
    file = Path("settings.toml")
    file.write_text(text)
    file.chmod(mode)
    return file


def test_without_anything_everything_has_its_default(tmp_path: Path) -> None:
    settings = load_settings({})
    assert settings.data_dir == tmp_path / "orrery-data"
    assert settings.database_url == f"sqlite:///{tmp_path}/orrery-data/orrery.db"
    assert (settings.broker_url, settings.redis_url, settings.metrics_port) == (None, None, None)
    assert (settings.url, settings.api_host, settings.api_port) == ("http://127.0.0.1:8080", "127.0.0.1", 8080)
    assert (settings.worker_lease_seconds, settings.heartbeat_seconds, settings.self_fence_seconds) == (15, 3, 12)
    assert (settings.leader_lease_seconds, settings.leader_renew_seconds) == (6, 2)
    assert settings.sources == {}


def test_the_environment_wins_over_the_file() -> None:
    file = config('api_port = 9000\nlog_level = "debug"\n')
    settings = load_settings({"ORRERY_API_PORT": "9001"}, file)
    assert (settings.api_port, settings.log_level) == (9001, "debug")
    assert settings.sources == {"api_port": "environment", "log_level": "settings.toml"}


def test_orrery_toml_in_the_current_folder_is_read_without_being_named() -> None:
    Path("orrery.toml").write_text("worker_slots = 3\n")
    assert load_settings({}).worker_slots == 3


def test_a_named_file_that_does_not_exist_is_an_error() -> None:
    assert problems({}, Path("nowhere.toml")) == ["nowhere.toml cannot be read: No such file or directory"]


def test_an_empty_variable_counts_as_not_set() -> None:
    assert load_settings({"ORRERY_BROKER_URL": ""}).broker_url is None


def test_lists_may_be_written_as_text_or_as_toml_arrays() -> None:
    file = config('worker_queues = ["gpu", "default"]\n')
    assert load_settings({}, file).worker_queues == ("gpu", "default")
    assert load_settings({"ORRERY_WORKER_QUEUES": "a, b"}).worker_queues == ("a", "b")
    networks = load_settings({"ORRERY_HTTP_ALLOWED_NETWORKS": "10.0.0.0/8,fd00::/8"}).http_allowed_networks
    assert [str(network) for network in networks] == ["10.0.0.0/8", "fd00::/8"]


def test_the_local_server_follows_the_address_of_the_api() -> None:
    assert load_settings({"ORRERY_API_PORT": "9000", "ORRERY_API_HOST": "0.0.0.0"}).url == "http://127.0.0.1:9000"
    assert load_settings({"ORRERY_URL": "https://orrery.example/"}).url == "https://orrery.example"


def test_secrets_vars_and_connections_come_from_tables_and_from_variables() -> None:
    file = config('[secrets]\nTOKEN = "file"\nOTHER = "o"\n[vars]\nregion = "eu"\n')
    environ = {"ORRERY_SECRET__TOKEN": "environment", "ORRERY_CONNECTION__warehouse": "postgresql://u:p@db/w"}
    settings = load_settings(environ, file)
    assert settings.secrets == {"TOKEN": "environment", "OTHER": "o"}
    assert settings.vars == {"region": "eu"}
    assert settings.connections == {"warehouse": "postgresql://u:p@db/w"}


def test_an_unknown_variable_names_the_nearest_setting() -> None:
    assert problems({"ORRERY_DATABSE_URL": "x"}) == [
        "ORRERY_DATABSE_URL is not a setting; did you mean ORRERY_DATABASE_URL?"
    ]


def test_unknown_keys_and_tables_of_the_file_are_errors() -> None:
    assert problems({}, config('api_prt = 1\n[secret]\nX = "y"\n')) == [
        "settings.toml: api_prt is not a setting; did you mean api_port?",
        "settings.toml: secret is not a setting; did you mean secrets?",
    ]


def test_every_problem_is_reported_at_once() -> None:
    found = problems(
        {
            "ORRERY_API_PORT": "eighty",
            "ORRERY_WORKER_SLOTS": "0",
            "ORRERY_DATABASE_URL": "mysql://u:hunter2@h/d",
            "ORRERY_LOG_LEVEL": "loud",
            "ORRERY_HEARTBEAT_SECONDS": "nan",
            "ORRERY_WORKER_QUEUES": "a,,B c",
            "ORRERY_HTTP_ALLOWED_NETWORKS": "10.0.0.1/8",
            "ORRERY_PROJECT": "other",
        }
    )
    assert len(found) == 8
    assert "hunter2" not in "".join(found)


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"ORRERY_WORKER_LEASE_SECONDS": "8", "ORRERY_SELF_FENCE_SECONDS": "7"}, "3 x ORRERY_HEARTBEAT_SECONDS"),
        ({"ORRERY_SELF_FENCE_SECONDS": "15"}, "ORRERY_SELF_FENCE_SECONDS must lie between"),
        ({"ORRERY_LEADER_RENEW_SECONDS": "2.1"}, "3 x ORRERY_LEADER_RENEW_SECONDS"),
        ({"ORRERY_TASK_GRACE_SECONDS": "25"}, "greater than ORRERY_TASK_GRACE_SECONDS"),
        ({"ORRERY_METRICS_PORT": "8080"}, "ORRERY_METRICS_PORT"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(environ: dict[str, str], words: str) -> None:
    (problem,) = problems(environ)
    assert words in problem


@pytest.mark.parametrize("url", ["redis://h", "http://h", "amqp://", "h:5672", "amqp://h:99999", "amqp://h\n"])
def test_a_broker_that_cannot_be_used_is_refused(url: str) -> None:
    (problem,) = problems({"ORRERY_BROKER_URL": url})
    assert problem.startswith("ORRERY_BROKER_URL must be") or "not available yet" in problem or "name a host" in problem


@pytest.mark.parametrize("url", ["postgres://h/d", "postgresql://h", "sqlite://", "sqlite:///", "sqlite://h/x"])
def test_a_store_that_cannot_be_used_is_refused(url: str) -> None:
    assert len(problems({"ORRERY_DATABASE_URL": url})) == 1


def test_settings_of_later_versions_are_refused_by_name() -> None:
    assert "not available yet" in problems({"ORRERY_SECRET_KEY": "k"})[0]
    assert "not available yet" in problems({}, config('secret_key_file = "k"\n'))[0]


def test_what_a_task_finds_in_its_environment_is_no_unknown_setting() -> None:
    load_settings({"ORRERY_RUN_ID": "r", "ORRERY_OUTPUT": "/tmp/o", "ORRERY_FENCE": "3"})


def test_variables_that_kubernetes_adds_are_explained() -> None:
    found = problems({"ORRERY_API_PORT": "tcp://10.0.0.1:8080", "ORRERY_API_SERVICE_HOST": "10.0.0.1"})
    assert len(found) == 2
    assert all("enableServiceLinks: false" in problem for problem in found)


def test_a_file_with_secrets_that_everyone_may_read_is_refused() -> None:
    assert "everyone may read it" in problems({}, config('[secrets]\nT = "x"\n', mode=0o644))[0]
    assert "everyone may read it" in problems({}, config('broker_url = "amqp://u:p@h"\n', mode=0o644))[0]
    load_settings({}, config("api_port = 9000\n", mode=0o644))


@pytest.mark.parametrize(
    "environ",
    [
        {"ORRERY_SECRET__": "x"},
        {"ORRERY_SECRET__A-B": "x"},
        {"ORRERY_SECRET__EMPTY": ""},
        {"ORRERY_SECRET__BIG": "x" * 65_537},
        {"ORRERY_CONNECTION__db": "mysql://h/d"},
    ],
)
def test_a_named_value_that_cannot_be_used_is_refused(environ: dict[str, str]) -> None:
    (problem,) = problems(environ)
    assert problem.startswith(next(iter(environ)))


def test_broken_toml_says_where() -> None:
    assert "line 1" in problems({}, config("= 3"))[0]


def test_every_attribute_has_a_meaning() -> None:
    table = setting_fields()
    assert set(table) == set(Settings.__dataclass_fields__) - {"sources"}
    assert all(entry.metadata["meaning"].endswith(".") for entry in table.values())
