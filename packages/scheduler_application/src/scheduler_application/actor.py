"""Who asks. Every use case that a person or a program can reach takes one."""

from dataclasses import dataclass

from scheduler_domain.ids import ProjectId


@dataclass(frozen=True, slots=True)
class Actor:
    """``principal`` names the credential (``key:ab12cd34``, ``trigger:…``, ``system``); all it touches is in
    ``project``."""

    principal: str
    project: ProjectId
    request_id: str = ""
