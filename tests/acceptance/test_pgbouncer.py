"""Behind pgbouncer in transaction mode every transaction may run on another session: nothing may rely on one."""

import shutil
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

import pytest

from tests.acceptance.conftest import CODE, Stacks
from tests.support import services
from tests.support.private_servers import PrivateServer

WORKFLOW = """
workflow: through-the-pooler
triggers: [{every: 1s}, {manual: {}}]
inputs: {numbers: {type: array, items: {type: integer}, default: [1, 2, 3, 4]}}
tasks:
  each: {for_each: "${{ inputs.numbers }}", python: {call: "effects:nothing"}}
  pause: {needs: [each], wait: {for: 1s}}
  after: {needs: [pause], shell: echo done}
"""
SETTINGS = """
[databases]
* = host={host} port={port} user={user} {password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own_port}
auth_type = any
pool_mode = transaction
default_pool_size = 6
max_client_conn = 500
unix_socket_dir =
ignore_startup_parameters = extra_float_digits
"""


class PrivatePooler(PrivateServer):
    """pgbouncer in front of the server of ``database_url``."""

    user = "postgres"

    def __init__(self, database_url: str) -> None:
        super().__init__()
        self._database = urlsplit(database_url)

    @classmethod
    def is_installed(cls) -> bool:
        return _binary() is not None

    @property
    def url(self) -> str:
        return urlunsplit(self._database._replace(netloc=f"{self._database.username}@127.0.0.1:{self.port}"))

    def _prepare(self) -> None:
        settings = self.folder / "pgbouncer.ini"
        given = self._database.password
        settings.write_text(
            SETTINGS.format(
                host=self._database.hostname,
                port=self._database.port or 5432,
                user=self._database.username,
                password=f"password={given}" if given else "",
                own_port=self.port,
            )
        )
        self._own(settings)

    def _command(self) -> list[str]:
        return [_binary() or "pgbouncer", str(self.folder / "pgbouncer.ini")]

    @classmethod
    def answers(cls, port: int, host: str = "127.0.0.1") -> bool:
        return services.PrivatePostgres.answers(port, host)


def _binary() -> str | None:
    return shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin")


@pytest.fixture
def pooled_url(postgres_url: str) -> Iterator[str]:
    if not PrivatePooler.is_installed():
        reason = f"{services.MISSING}pgbouncer. Install Debian's pgbouncer"
        pytest.fail(reason, pytrace=False) if services.are_required() else pytest.skip(reason)
    with PrivatePooler(postgres_url) as pooler:
        yield pooler.url


async def test_a_workflow_runs_behind_a_pooler(
    stacks: Stacks, pooled_url: str, postgres_url: str, story_broker: PrivateServer
) -> None:
    stack = stacks(
        DATABASE_URL=pooled_url,
        DATABASE_DIRECT_URL=postgres_url,
        DATABASE_PREPARED_STATEMENTS="false",
        BROKER_URL=story_broker.url,
        CODE_PATH=CODE,
    )
    dispatchers, workers = await stack.start_all(dispatchers=2, workers=2)
    await stack.deploy(WORKFLOW)
    runs = [await stack.run("through-the-pooler") for _ in range(20)]
    for run_id in runs:
        assert (await stack.finished(run_id, within=40))["state"] == "succeeded"
    assert await stack.rows("select 1 from ledger where outcome = 'fired'")
    own = "from pg_stat_activity where datname = current_database()"
    users = await stack.rows(f"select application_name, count(*) as sessions {own} group by 1")
    assert sum(row["sessions"] for row in users if row["application_name"] == "orrery") <= 6
    for node in (*dispatchers, *workers):
        assert "prepared statement" not in node.tail()
