"""Answers: plain values become JSON in one pass, without a model in between."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec
from starlette.responses import Response

from scheduler_api.bodies import JSON_TYPE

T = TypeVar("T")

_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """A list that is always whole, in the form of a page."""

    items: Sequence[T]
    next_cursor: str | None = None


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(_encoder.encode(value), status, headers, media_type=JSON_TYPE)


class ShownOnce(Response):
    """An answer that holds a secret; ``kept`` is the answer without it, for whoever sends the request again."""

    kept: bytes


def answer_shown_once(value: Any, kept: Any, status: int, headers: Mapping[str, str] | None = None) -> ShownOnce:
    response = ShownOnce(_encoder.encode(value), status, headers, media_type=JSON_TYPE)
    response.kept = _encoder.encode(kept)
    return response


def nothing() -> Response:
    return Response(status_code=204)
