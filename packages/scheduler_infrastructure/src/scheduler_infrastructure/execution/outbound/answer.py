"""The answer of an HTTP request as a task's output, within the bound of outputs."""

import json
from typing import Any

import msgspec

from scheduler_infrastructure.execution.output import MAX_OUTPUT_BYTES, InvalidOutput, check_output

_MAX_HEADERS = 100
_MAX_HEADER_BYTES = 8 * 1024
_MAX_TEXT_BYTES = 48 * 1024
"""Of a body that is cut; leaves room for the escapes and the headers."""


def as_output(status: int, headers: list[tuple[str, str]], body: bytes, charset: str) -> dict[str, Any]:
    """``{"status", "headers", "body"}``: names of headers in lower case, a JSON body as its value and any other as
    text. What would go over the bound is cut and ``"truncated": true`` added; a body that was cut is text."""
    kept, cut = _bounded_headers(headers)
    output: dict[str, Any] = {"status": status, "headers": kept, "body": _value(kept.get("content-type", ""), body)}
    if output["body"] is None and body.strip() not in (b"", b"null"):
        output["body"] = _text(body, charset)
    if len(msgspec.json.encode(output)) > MAX_OUTPUT_BYTES:
        output["body"] = _cut(_text(body[:_MAX_TEXT_BYTES], charset), len(msgspec.json.encode(kept)))
        cut = True
    return {**output, "truncated": True} if cut else output


def _cut(text: str, header_bytes: int) -> str:
    room = MAX_OUTPUT_BYTES - header_bytes - 200
    while len(msgspec.json.encode(text)) > room:
        text = text[: len(text) * 3 // 4]
    return text


def _value(content_type: str, body: bytes) -> Any:
    kind = content_type.partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        return None
    try:
        value = msgspec.json.decode(body)
        check_output(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, InvalidOutput):
        return None
    return value


def _text(body: bytes, charset: str) -> str:
    try:
        text = body.decode(charset, "replace")
    except LookupError:
        text = body.decode("utf-8", "replace")
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def _bounded_headers(headers: list[tuple[str, str]]) -> tuple[dict[str, str], bool]:
    kept: dict[str, str] = {}
    size = 0
    for name, value in headers:
        size += len(json.dumps(name)) + len(json.dumps(value))
        if size > _MAX_HEADER_BYTES or len(kept) >= _MAX_HEADERS:
            return kept, True
        key = name.lower()
        kept[key] = f"{kept[key]}, {value}" if key in kept else value
    return kept, False
