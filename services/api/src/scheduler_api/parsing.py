"""The one JSON parser of request bodies: strict, and bounded in every direction.

Ordinary bodies take the fast way: one pass of a C decoder, one walk that counts. The walk also proves that no key was
given twice, without looking at the text again: every colon of the text is either a key's or inside a string that the
walk has seen. Whatever looks odd there is read again with care, only to say exactly what is wrong and where.
"""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from scheduler_api.errors import Refused, refused
from scheduler_domain.errors import MAX_PROBLEMS, Problem

MAX_INTEGER = 2**53
MAX_DIGITS = 20


@dataclass(frozen=True, slots=True)
class JsonLimits:
    """``keys`` and ``elements`` count the whole document, ``text`` one string's characters."""

    depth: int = 32
    keys: int = 10_000
    elements: int = 100_000
    text: int = 65_536


REQUEST_LIMITS = JsonLimits()
DOCUMENT_LIMITS = JsonLimits(keys=1_000_000, elements=1_000_000, text=1_048_576)
"""For definitions: 10,000 tasks have more keys than a request; their size is bounded by the body's."""

_decoder = msgspec.json.Decoder()
_ESCAPED_COLON = b"\\u003"
"""How the escapes of a colon begin: the walk sees that colon and the text does not have it, so counts prove nothing."""
_STRUCTURE = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
_STRING_OR_CONSTANT = re.compile(r'"(?:[^"\\]++|\\.)*+"?|NaN|-?Infinity', re.DOTALL)
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def parse_json(body: bytes, limits: JsonLimits = REQUEST_LIMITS) -> Any:
    """The value of a JSON text in UTF-8.

    Raises `Refused`: ``malformed_json``, ``duplicate_key``, ``number_too_long``, ``invalid_unicode``,
    ``nesting_too_deep`` (400); ``number_out_of_range``, ``nul_character``, ``too_many_items``,
    ``string_too_long`` (422).
    """
    try:
        value = _decoder.decode(body)
        census = _Census(limits)
        census.take(value, 1)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, _Odd):
        return _read_with_care(body, limits)
    if census.colons != body.count(b":") or _ESCAPED_COLON in body:
        return _read_with_care(body, limits)
    return value


def parse_object(body: bytes, limits: JsonLimits = REQUEST_LIMITS) -> dict[str, Any]:
    """As `parse_json`; anything but an object is 422 ``object_expected``."""
    value = parse_json(body, limits)
    if not isinstance(value, dict):
        raise refused([Problem(("body",), "object_expected", "expected a JSON object")])
    return value


class _Odd(Exception):
    """Something that the fast way does not judge."""


class _Census:
    """Counts what a decoded document holds; raises `_Odd` at the first thing that may be refused."""

    __slots__ = ("_limits", "colons", "elements", "keys")

    def __init__(self, limits: JsonLimits) -> None:
        self._limits = limits
        self.colons = 0
        self.keys = 0
        self.elements = 0

    def take(self, value: Any, depth: int) -> None:
        kind = type(value)
        if kind is str:
            self._take_text(value)
        elif kind is int:
            if not -MAX_INTEGER <= value <= MAX_INTEGER:
                raise _Odd
        elif kind is dict:
            self._take_object(value, depth)
        elif kind is list:
            self._take_array(value, depth)

    def _take_text(self, text: str) -> None:
        if len(text) > self._limits.text or "\0" in text:
            raise _Odd
        self.colons += text.count(":")

    def _take_object(self, value: dict[str, Any], depth: int) -> None:
        self.keys += len(value)
        if depth > self._limits.depth or self.keys > self._limits.keys:
            raise _Odd
        self.colons += len(value)
        for key, item in value.items():
            self._take_text(key)
            self.take(item, depth + 1)

    def _take_array(self, value: list[Any], depth: int) -> None:
        self.elements += len(value)
        if depth > self._limits.depth or self.elements > self._limits.elements:
            raise _Odd
        for item in value:
            self.take(item, depth + 1)


def _read_with_care(body: bytes, limits: JsonLimits) -> Any:
    text = _as_text(body)
    _check_depth(text, limits)
    value = _decode(text)
    problems = _problems(value, limits)
    if problems:
        raise refused(problems, whole="invalid_body")
    return value


def _as_text(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        line, column = _place(body[: error.start].decode("utf-8"))
        raise _refusal("invalid_unicode", "the body is not valid UTF-8", line, column) from None


def _check_depth(text: str, limits: JsonLimits) -> None:
    depth = 0
    for token in _STRUCTURE.finditer(text):
        sign = token.group()
        if sign in ("[", "{"):
            depth += 1
            if depth > limits.depth:
                message = f"the body nests deeper than {limits.depth} levels"
                raise _refusal("nesting_too_deep", message, *_place(text[: token.start()]))
        elif sign in ("]", "}"):
            depth -= 1


def _decode(text: str) -> Any:
    decoder = json.JSONDecoder(
        object_pairs_hook=_object, parse_int=_integer, parse_constant=lambda _: _refuse_constant(text)
    )
    try:
        return decoder.decode(text)
    except json.JSONDecodeError as error:
        reason = error.msg[:1].lower() + error.msg[1:]
        message = f"the body is not valid JSON at line {error.lineno}, column {error.colno}: {reason}"
        raise _refusal("malformed_json", message, error.lineno, error.colno) from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) == len(pairs):
        return value
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            problem = Problem(("body", key), "duplicate_key", f"the key {_short(key)} is given twice in one object")
            raise refused([problem])
        seen.add(key)
    return value


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) > MAX_DIGITS:
        problem = Problem(("body",), "number_too_long", f"a number has more than {MAX_DIGITS} digits")
        raise refused([problem])
    return int(digits)


def _refuse_constant(text: str) -> Any:
    found = next(token for token in _STRING_OR_CONSTANT.finditer(text) if not token.group().startswith('"'))
    line, column = _place(text[: found.start()])
    message = f"the body is not valid JSON at line {line}, column {column}: {found.group()} is not a JSON value"
    raise _refusal("malformed_json", message, line, column)


def _problems(value: Any, limits: JsonLimits) -> list[Problem]:
    """What the grammar allows and the limits do not; counting stops at the first limit that is passed."""
    problems: list[Problem] = []
    keys = elements = 0
    for loc, item in _nodes(value, ("body",)):
        keys += len(item) if isinstance(item, dict) else 0
        elements += len(item) if isinstance(item, list) else 0
        problems += _faults(loc, item, limits)
        if keys > limits.keys or elements > limits.elements:
            message = f"the body has more than {limits.keys} keys or {limits.elements} array elements"
            return [Problem(("body",), "too_many_items", message)]
        if len(problems) >= MAX_PROBLEMS:
            break
    return problems


def _nodes(value: Any, loc: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    yield loc, value
    if isinstance(value, dict):
        for key, item in value.items():
            yield (*loc, key), key
            yield from _nodes(item, (*loc, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _nodes(item, (*loc, index))


def _faults(loc: tuple[str | int, ...], item: Any, limits: JsonLimits) -> Iterator[Problem]:
    if isinstance(item, str):
        yield from _text_faults(loc, item, limits)
    elif isinstance(item, float) and not math.isfinite(item):
        yield Problem(loc, "number_out_of_range", "the number is larger than a 64-bit float can hold")
    elif isinstance(item, int) and not -MAX_INTEGER <= item <= MAX_INTEGER:
        message = f"the number must be between -{MAX_INTEGER} and {MAX_INTEGER}"
        yield Problem(loc, "number_out_of_range", message)


def _text_faults(loc: tuple[str | int, ...], text: str, limits: JsonLimits) -> Iterator[Problem]:
    if "\0" in text:
        yield Problem(loc, "nul_character", "a text must not contain the character NUL")
    if len(text) > limits.text:
        yield Problem(loc, "string_too_long", f"a text has at most {limits.text} characters")
    if _SURROGATE.search(text):
        yield Problem(loc, "invalid_unicode", "a text contains half of a surrogate pair")


def _refusal(code: str, message: str, line: int, column: int) -> Refused:
    return Refused(code, message, problems=[Problem(("body",), code, message, line, column)])


def _place(before: str) -> tuple[int, int]:
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


def _short(key: str) -> str:
    return repr(key if len(key) <= 60 else key[:59] + "…")
