"""Reading task logs: chunks of many attempts, in order of arrival, as lines."""

from dataclasses import dataclass

from scheduler_application.actor import Actor
from scheduler_application.errors import NotFound
from scheduler_application.ports.logs import LogChunk, LogLine, LogStore
from scheduler_application.ports.reading import Reader, RunView, TaskRunView
from scheduler_domain.run.states import FINAL_RUN_STATES

MAX_LINES = 1_000
"""The most chunks that one page reads."""


@dataclass(frozen=True, slots=True)
class ReadLogsCommand:
    """``cursor`` as a former page gave it; ``limit`` counts chunks, each of which holds one or more lines."""

    run_id: str
    task: str | None = None
    cursor: str | None = None
    limit: int = MAX_LINES


@dataclass(frozen=True, slots=True)
class LogPage:
    """``cursor`` resumes after the page; ``finished`` says that nothing more will come after this page."""

    lines: list[LogLine]
    cursor: str | None
    finished: bool


class ReadLogs:
    """What the tasks of a run printed; who may see the run may read it."""

    def __init__(self, logs: LogStore, reader: Reader) -> None:
        self._logs = logs
        self._reader = reader

    async def execute(self, command: ReadLogsCommand, actor: Actor) -> LogPage:
        """Raises `NotFound` for an unknown run or task, `Rejected` (``invalid_cursor``)."""
        # The state is read first: what a finished run has printed is then certainly in the chunks.
        run = await self._reader.run(actor.project, command.run_id)
        if run is None:
            raise NotFound("there is no such run")
        tasks = {task.id: task for task in run.tasks or []}
        if command.task is not None and command.task not in {task.task for task in tasks.values()}:
            raise NotFound(f"the run has no task '{command.task[:100]}'")
        chunks = await self._logs.read(
            actor.project,
            run.id,
            task=command.task,
            after=command.cursor,
            limit=command.limit,
        )
        lines = [line for chunk in chunks for line in _lines(chunk, await self._task(chunk, tasks, actor))]
        cursor = _cursor(chunks[-1]) if chunks else command.cursor
        return LogPage(lines, cursor, _is_over(run) and len(chunks) < command.limit)

    async def _task(self, chunk: LogChunk, known: dict[str, TaskRunView], actor: Actor) -> TaskRunView | None:
        if chunk.task_run_id not in known:
            found = await self._reader.task_run(actor.project, chunk.task_run_id)
            if found is None:
                return None
            known[chunk.task_run_id] = found
        return known[chunk.task_run_id]


def _is_over(run: RunView) -> bool:
    return run.state in FINAL_RUN_STATES


def _cursor(chunk: LogChunk) -> str:
    at = chunk.at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return f"{at}|{chunk.task_run_id}|{chunk.claim_no}|{chunk.seq}"


def _lines(chunk: LogChunk, task: TaskRunView | None) -> list[LogLine]:
    texts = chunk.data.decode("utf-8", "replace").split("\n")
    if texts and not texts[-1]:
        texts.pop()
    if chunk.truncated and not texts:
        texts = [""]
    return [
        LogLine(
            cursor=_cursor(chunk),
            task=task.task if task is not None else "",
            item_index=task.item_index if task is not None else None,
            task_run_id=chunk.task_run_id,
            attempt=task.attempt if task is not None else 0,
            stream=chunk.stream,
            at=chunk.at,
            text=text,
            truncated=chunk.truncated,
        )
        for text in texts
    ]
