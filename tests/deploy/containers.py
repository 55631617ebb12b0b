"""Builds the image for real, without any image registry, and starts it as Kubernetes would: with buildah, podman and a
base made of Debian's packages. Storage is a folder of its own, so nothing of the machine's is touched."""

import fcntl
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "localhost/orrery-test:latest"
TOOLS = ("buildah", "podman", "runc", "debootstrap")
BASE_PACKAGES = "python3,python3-venv,ca-certificates,tzdata"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")

_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"

# The defaults ask for more than an unprivileged sandbox may give.
_CONFIGURATION = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
"""


def missing_tools() -> str | None:
    """Why no image can be built here, or ``None``."""
    absent = [tool for tool in TOOLS if shutil.which(tool, path=_PATH) is None]
    if absent:
        return f"{', '.join(absent)} not installed (Debian packages of the same names)"
    return None if os.geteuid() == 0 else "debootstrap needs root"


@dataclass(frozen=True, slots=True)
class Engine:
    """``folder`` keeps the storage, and with it the base image, from one test run to the next."""

    folder: Path

    def buildah(self, *arguments: str, timeout: float = 300) -> str:
        return self._run(["buildah", *self._storage(), *arguments], timeout)

    def podman(self, *arguments: str, timeout: float = 300) -> str:
        return self._run(self.podman_command(*arguments), timeout)

    def podman_command(self, *arguments: str) -> list[str]:
        return ["podman", *self._storage(), "--runtime", "runc", *arguments]

    def environment(self) -> dict[str, str]:
        return {**os.environ, "PATH": _PATH, "CONTAINERS_CONF": str(self.folder / "containers.conf")}

    def create(self, name: str, *arguments: str, options: Sequence[str] = ()) -> None:
        """A container of the image, as hardened as the manifests have it, on the host's network. It is not started yet:
        making it copies the whole image, for as long as the disk is busy with other things."""
        hardened = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--user", "10001:10001"]
        # A volume, for a tmpfs there would be root's; podman removes it together with the container.
        folders = ["--tmpfs", "/tmp", "--volume", "/var/lib/orrery"]
        where = ["--network", "host", "--name", name, "--rm"]
        self.podman("create", *where, *hardened, *folders, *options, IMAGE, *arguments)

    def _storage(self) -> list[str]:
        return [
            "--root",
            str(self.folder / "storage"),
            "--runroot",
            str(self.folder / "run"),
            "--storage-driver",
            "vfs",
        ]

    def _run(self, command: Sequence[str], timeout: float) -> str:
        result = subprocess.run(
            command, env=self.environment(), cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False
        )
        assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout[-4000:]}{result.stderr[-4000:]}"
        return result.stdout.strip()


@contextmanager
def container_engine() -> Iterator[Engine]:
    """One at a time on a machine: vfs storage knows no two builds at once."""
    folder = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "orrery-test-images"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "containers.conf").write_text(_CONFIGURATION)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield Engine(folder)


def build(engine: Engine) -> None:
    """Builds `IMAGE` from the Dockerfile, over a base that is made once and then kept."""
    # What a run that was killed left behind; nobody else is here, for the lock is ours.
    engine.podman("rm", "--all", "--force")
    engine.buildah("rm", "--all")
    base = f"localhost/orrery-test-base:{_suite()}"
    if base not in engine.buildah("images", "--format", "{{.Name}}:{{.Tag}}").splitlines():
        _make_base(engine, base)
    # The builder's own trust, for machines that reach the package index through a proxy with its own certificate.
    trust = ["--volume", f"{CERTIFICATES}:{CERTIFICATES}:ro"] if CERTIFICATES.exists() else []
    engine.buildah(
        *("bud", "--quiet", "--isolation", "chroot", "--network", "host", "--layers=false", *trust),
        *("--build-arg", f"BASE_IMAGE={base}", "--file", "deploy/docker/Dockerfile", "--tag", IMAGE, "."),
    )
    # The image that this one replaced would otherwise stay for ever.
    engine.buildah("rmi", "--prune")


def _make_base(engine: Engine, name: str) -> None:
    with tempfile.TemporaryDirectory(dir=engine.folder) as folder:
        root = Path(folder) / "root"
        subprocess.run(
            ["debootstrap", "--variant=minbase", f"--include={BASE_PACKAGES}", _suite(), root],
            env=engine.environment(),
            capture_output=True,
            timeout=240,
            check=True,
        )
        shutil.rmtree(root / "var/cache/apt")
        container = engine.buildah("from", "scratch")
        engine.buildah("add", "--quiet", container, str(root), "/")
        engine.buildah("commit", "--quiet", "--rm", container, name)


def _suite() -> str:
    return platform.freedesktop_os_release()["VERSION_CODENAME"]
