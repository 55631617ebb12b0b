"""The image, built and started: what is shipped is what is tested."""

import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from tests.deploy.containers import IMAGE, Engine, build, container_engine, missing_tools
from tests.support import services
from tests.support.private_servers import free_port

# The first build on a machine also makes the base.
pytestmark = pytest.mark.timeout(420)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    if missing := missing_tools():
        if services.are_required():
            pytest.fail(missing)
        pytest.skip(missing)
    with container_engine() as engine:
        build(engine)
        yield engine


def test_the_image_runs_as_nobody_in_particular_and_cannot_install_anything(engine: Engine) -> None:
    script = "import os, shutil; print(os.getuid(), shutil.which('pip'), os.access('/opt/orrery/bin', os.W_OK))"
    answer = engine.podman("run", "--rm", "--network", "none", "--entrypoint", "python", IMAGE, "-c", script)
    assert answer == "10001 None False"


def test_every_command_of_the_services_is_in_the_one_image(engine: Engine) -> None:
    # In one container: starting one costs seconds, because vfs copies the whole image.
    script = "set -e; for command in up api dispatcher worker migrate; do orrery $command --help; done"
    engine.podman("run", "--rm", "--network", "none", "--entrypoint", "sh", IMAGE, "-c", script)


def test_the_whole_system_starts_answers_and_ends_in_a_hardened_container(engine: Engine) -> None:
    port = free_port()
    name = f"orrery-test-{os.getpid()}"
    engine.create(name, "up", options=["--env", f"ORRERY_API_PORT={port}"])
    start = engine.podman_command("start", "--attach", name)
    with subprocess.Popen(
        start, env=engine.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as container:
        try:
            wait_for_answer(container, f"http://127.0.0.1:{port}/livez")
        finally:
            if container.poll() is None:
                engine.podman("stop", "--time", "40", name)
        output = container.communicate(timeout=30)[0]
    # 137 would be the KILL of somebody who did not hear the TERM.
    assert container.returncode == 0, output[-4000:]


def wait_for_answer(container: subprocess.Popen[str], url: str, attempts: int = 150) -> None:
    """Asks until there is an answer, no longer than the container lives; between two questions it waits for its end."""
    for _ in range(attempts):
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                assert answer.status == 200
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            try:
                container.wait(timeout=0.2)
            except subprocess.TimeoutExpired:
                continue
            assert container.stdout is not None
            pytest.fail(f"it ended: {container.stdout.read()[-4000:]}")
    pytest.fail(f"{url} did not answer")
