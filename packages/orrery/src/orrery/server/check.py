"""Whether everything that a configuration depends on is there and answers."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from scheduler_application.errors import ApplicationError
from scheduler_infrastructure.bootstrap.lifecycle import open_probes
from scheduler_infrastructure.bootstrap.settings import Settings

DEADLINE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class CheckResult:
    """``detail`` is one sentence for people."""

    name: str
    ok: bool
    detail: str


def check_dependencies(settings: Settings) -> list[CheckResult]:
    """Tries everything at the same time; takes at most `DEADLINE_SECONDS`."""
    return [*_local_checks(settings), *asyncio.run(_probe_all(settings))]


async def _probe_all(settings: Settings) -> list[CheckResult]:
    async with open_probes(settings) as probes:
        return list(await asyncio.gather(*(_probe(probe.name, probe.check) for probe in probes)))


async def _probe(name: str, check: Callable[[], Awaitable[None]]) -> CheckResult:
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await check()
    except TimeoutError:
        return CheckResult(name, False, f"does not answer within {DEADLINE_SECONDS:g} s")
    except (ApplicationError, OSError) as error:
        return CheckResult(name, False, str(error))
    return CheckResult(name, True, "answers")


def _local_checks(settings: Settings) -> list[CheckResult]:
    folder = settings.data_dir if settings.data_dir.exists() else settings.data_dir.parent
    writable = folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
    results = [CheckResult("data folder", writable, f"{folder} {'is' if writable else 'is not'} writable")]
    if settings.code_path is not None:
        there = settings.code_path.is_dir()
        results.append(CheckResult("code", there, f"{settings.code_path} {'is there' if there else 'is not a folder'}"))
    if settings.task_python is not None:
        runs = os.access(settings.task_python, os.X_OK) and settings.task_python.is_file()
        results.append(
            CheckResult("task python", runs, f"{settings.task_python} {'is there' if runs else 'cannot be executed'}")
        )
    return results
