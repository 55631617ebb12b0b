"""An attempt's request: its settings and environment with every template evaluated, secrets included."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scheduler_application.json_values import json_text
from scheduler_application.ports.execution import ExecutionRequest
from scheduler_application.ports.rows import NO_ITEM, ClaimedRow
from scheduler_domain.errors import ExpressionError
from scheduler_worker.attempt import Attempt


class Renderer:
    """``secrets`` are what ``${{ secrets.NAME }}`` may name. ``code_path`` is this worker's folder with code; where it
    has none, the folder that the version was deployed from is used."""

    def __init__(
        self, secrets: Mapping[str, str], work_root: Path, code_path: Path | None, *, grace_seconds: float
    ) -> None:
        self._secrets = secrets
        self._work_root = str(work_root)
        self._code_path = code_path
        self._grace_seconds = grace_seconds

    def render(self, attempt: Attempt, traceparent: str) -> ExecutionRequest:
        """Raises `ExpressionError`."""
        claimed = attempt.claimed
        row, task = claimed.row, claimed.task
        scope = {**claimed.scope, "secrets": self._secrets}
        source = self._source(claimed.version.source)
        own = _own_variables(row, traceparent, source)
        return ExecutionRequest(
            project=row.project_id,
            task_run_id=row.id,
            claim_no=row.claim_no,
            executor=task.executor,
            settings=task.settings.render(scope),
            environment={name: _text(name, template.render(scope)) for name, template in task.env.items()} | own,
            work_folder=f"{self._work_root}/{row.id}-{row.claim_no}",
            source=source,
            timeout=task.timeout,
            idempotency_key=idempotency_key(row),
            grace=self._grace_seconds,
            stop=attempt.stop,
            stop_reason=attempt.stop_reason,
            lane=attempt.lane,
        )

    def _source(self, deployed_from: str | None) -> Path | None:
        if self._code_path is not None or deployed_from is None:
            return self._code_path
        return Path(deployed_from)


def idempotency_key(row: ClaimedRow) -> str:
    """The same for every attempt of a task run, and for no other task run."""
    key = f"{row.run_id}/{row.task}"
    return key if row.item_index == NO_ITEM else f"{key}/{row.item_index}"


def _own_variables(row: ClaimedRow, traceparent: str, source: Path | None) -> dict[str, str]:
    variables = {
        "ORRERY_RUN_ID": row.run_id,
        "ORRERY_TASK": row.task,
        "ORRERY_ATTEMPT": str(row.attempt),
        "ORRERY_FENCE": str(row.claim_no),
        "ORRERY_IDEMPOTENCY_KEY": idempotency_key(row),
        "TRACEPARENT": traceparent,
    }
    return variables if source is None else variables | {"ORRERY_SOURCE": str(source)}


def _text(name: str, value: Any) -> str:
    """A value as an environment variable holds it: text as it is, nothing as nothing, everything else as JSON."""
    text = value if isinstance(value, str) else "" if value is None else json_text(value)
    if "\0" in text:
        raise ExpressionError(f"env.{name}: the value holds a NUL character")
    return text
