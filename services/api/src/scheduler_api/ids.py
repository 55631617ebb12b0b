"""Ids in addresses: canonical text, or as absent as a thing that does not exist."""

from scheduler_application.errors import NotFound
from scheduler_domain.ids import RunId, TaskRunId, WorkerId, canonical_uuid


def run_id_of(text: str) -> RunId:
    return RunId(_canonical(text, "run"))


def task_run_id_of(text: str) -> TaskRunId:
    return TaskRunId(_canonical(text, "task run"))


def freeze_id_of(text: str) -> str:
    return _canonical(text, "freeze")


def worker_id_of(text: str) -> WorkerId:
    return WorkerId(_canonical(text, "worker"))


def backfill_id_of(text: str) -> str:
    return _canonical(text, "backfill")


def alert_id_of(text: str) -> str:
    return _canonical(text, "alert")


def _canonical(text: str, noun: str) -> str:
    found = canonical_uuid(text)
    if found is None:
        raise NotFound(f"there is no such {noun}")
    return found
