"""What an import made of a crontab, and what it could not carry over."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Note:
    """Something that is not in the workflows as it was in the crontab, and what can be done about it.

    ``line`` is ``None`` for the file as a whole. ``dropped`` says that the line became no workflow.
    """

    line: int | None
    code: str
    what: str
    instead: str
    dropped: bool = False


@dataclass(frozen=True, slots=True)
class Carried:
    """An entry and its workflow; ``document`` is the definition as plain data, accepted as it stands."""

    line: int
    schedule: str
    user: str | None
    command: str
    workflow: str
    document: dict[str, Any]


@dataclass(slots=True)
class ImportReport:
    """``entries`` counts what the daemon would run, carried over or not."""

    form: str
    entries: int = 0
    carried: list[Carried] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether every line that is no comment became a workflow, or part of one."""
        return not any(note.dropped for note in self.notes)

    def note(self, line: int | None, code: str, what: str, instead: str = "", *, dropped: bool = False) -> None:
        self.notes.append(Note(line, code, what, instead, dropped))
