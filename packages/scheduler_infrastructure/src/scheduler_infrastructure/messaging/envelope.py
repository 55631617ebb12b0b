"""The message that carries hints: compact JSON with a version, decoded strictly.

``{"v": 1, "h": [["01890a5d-…", 3], …], "t": "00-…-01"}``: hints as (task run, claim number), and the trace parent of
the publish.
"""

from collections.abc import Sequence
from typing import Annotated

import msgspec

from scheduler_application.ports.messaging import MAX_HINTS_PER_MESSAGE, Hint
from scheduler_domain.ids import CANONICAL_UUID, TaskRunId

VERSION = 1
MAX_BYTES = 256 * 1024
MAX_CLAIM_NO = 2**31 - 1

_ClaimNo = Annotated[int, msgspec.Meta(ge=0, le=MAX_CLAIM_NO)]
_Id = Annotated[str, msgspec.Meta(pattern=CANONICAL_UUID)]
_TraceParent = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")]


class BadMessage(Exception):
    """A message that is not ours to act on; ``reason`` is ``oversize``, ``malformed`` or ``unknown_version``."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class _Version(msgspec.Struct):
    v: int


class Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    v: int
    h: Annotated[
        tuple[tuple[_Id, _ClaimNo], ...],
        msgspec.Meta(min_length=1, max_length=MAX_HINTS_PER_MESSAGE),
    ]
    t: _TraceParent | None = None


_encoder = msgspec.json.Encoder()
_version = msgspec.json.Decoder(_Version)
_envelope = msgspec.json.Decoder(Envelope)


def encode(hints: Sequence[Hint], traceparent: str | None = None) -> bytes:
    """One message for at most `MAX_HINTS_PER_MESSAGE` hints."""
    return _encoder.encode(Envelope(VERSION, tuple(hints), traceparent))


def decode(body: bytes) -> tuple[list[Hint], str | None]:
    """The hints and the trace parent of a message; raises `BadMessage` for everything that `encode` would not make."""
    if len(body) > MAX_BYTES:
        raise BadMessage("oversize")
    try:
        if _version.decode(body).v != VERSION:
            raise BadMessage("unknown_version")
        envelope = _envelope.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise BadMessage("malformed") from None
    return [Hint(TaskRunId(task_run_id), claim_no) for task_run_id, claim_no in envelope.h], envelope.t
