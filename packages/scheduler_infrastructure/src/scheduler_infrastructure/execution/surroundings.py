"""What a process task finds: its folder, the files in it that are ours, and its environment."""

import contextlib
import os
import sys
from pathlib import Path

from scheduler_application.ports.execution import ExecutionRequest
from scheduler_infrastructure.execution.output import MAX_OUTPUT_BYTES, InvalidOutput, decode_output

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_OUTPUT, _ARTIFACTS, _SCRIPT = ".orrery-output.json", ".orrery-artifacts", ".orrery-script"


class Surroundings:
    """The paths of one attempt; the names begin with a dot so that the task's ``ls`` and ``*`` do not meet them."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.output = f"{self.folder}/{_OUTPUT}"
        self.artifacts = f"{self.folder}/{_ARTIFACTS}"
        self.script = f"{self.folder}/{_SCRIPT}"

    def make(self) -> None:
        """Makes the folders that are not there yet; raises `OSError`."""
        for folder in (self.folder, self.artifacts):
            with contextlib.suppress(FileExistsError):
                Path(folder).mkdir(0o700)

    def environment(self, request: ExecutionRequest) -> dict[str, str]:
        """The complete environment: nothing of the worker's own comes through."""
        environment = {**base_environment(), "HOME": self.folder}
        if request.source is not None:
            environment["ORRERY_SOURCE"] = str(request.source)
        environment.update(request.environment)
        environment["ORRERY_OUTPUT"] = self.output
        environment["ORRERY_ARTIFACTS"] = self.artifacts
        return environment

    def has_output(self) -> bool:
        return Path(self.output).exists()

    def read_output(self) -> object:
        """The JSON value that the task wrote, ``None`` where it wrote none; raises `InvalidOutput`."""
        try:
            # No waiting on a pipe and no following of a link that the task may have put in its place.
            descriptor = os.open(self.output, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise InvalidOutput(f"the output file cannot be read: {error.strerror}") from None
        try:
            return decode_output(os.read(descriptor, MAX_OUTPUT_BYTES + 1))
        except OSError as error:
            raise InvalidOutput(f"the output file cannot be read: {error.strerror}") from None
        finally:
            os.close(descriptor)


def base_environment() -> dict[str, str]:
    """What every process gets when the task says nothing else."""
    return {"PATH": _PATH, "LANG": "C.UTF-8"}


def worker_interpreter() -> str:
    return sys.executable
