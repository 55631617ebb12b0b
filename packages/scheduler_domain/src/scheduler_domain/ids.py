"""Identifiers: canonical lower-case text of version 7 UUIDs, so that they sort by the time of their making.

They are text everywhere in Python (messages, JSON and rows carry them unchanged); only the store's column
types know that they are UUIDs. New ones come from the `Ids` port, never from here.
"""

import re
from typing import NewType
from uuid import UUID

ProjectId = NewType("ProjectId", str)
WorkflowId = NewType("WorkflowId", str)
VersionId = NewType("VersionId", str)
TriggerId = NewType("TriggerId", str)
RunId = NewType("RunId", str)
TaskRunId = NewType("TaskRunId", str)
WorkerId = NewType("WorkerId", str)

DEFAULT_PROJECT = ProjectId("00000000-0000-7000-8000-000000000001")
"""The project named ``default``; the first migration creates it."""


CANONICAL_UUID = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z"

_is_canonical = re.compile(CANONICAL_UUID).match


def canonical_uuid(text: str) -> str | None:
    """The canonical form of ``text``, or ``None`` when it is not a UUID in the 36-character form."""
    if _is_canonical(text):
        return text
    if len(text) != 36:
        return None
    try:
        return str(UUID(text))
    except ValueError:
        return None
