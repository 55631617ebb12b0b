"""What any document must keep to before its meaning is looked at."""

import re
from collections.abc import Iterator
from typing import Any

from scheduler_domain.errors import MAX_PROBLEMS, Problem
from scheduler_domain.naming import shown

MAX_DEPTH = 32
MAX_NODES = 150_000
"""Values in a document; the largest workflows that fit its bytes have about 110,000."""
MAX_STRING = 64 * 1024
MAX_INTEGER = 2**53

_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_PASSWORD_IN_URL = re.compile(r"://[^/\s:@?#]*:(?!\$[A-Za-z_{(])[^/\s@]+@")
"""A password that is itself ``$NAME`` or ``${{ … }}`` is a reference, not a password."""

Link = tuple["Link", str | int] | None
"""A path from the root as a chain of parents, so that only a problem pays for its tuple."""


def check_plain(root: Any) -> list[Problem]:
    """Problems of plain data: depth, size, what JSON does not have, forbidden characters, passwords in URLs."""
    problems: list[Problem] = []
    pending: list[tuple[Any, Link, int]] = [(root, None, 0)]
    nodes = 0
    while pending and len(problems) < MAX_PROBLEMS:
        value, link, depth = pending.pop()
        nodes += 1
        if nodes > MAX_NODES:
            problems.append(Problem((), "too_many_items", f"the document has more than {MAX_NODES} parts"))
            break
        found = _fault(value, depth)
        if found is not None:
            problems.append(Problem(_path(link), *found))
        elif isinstance(value, dict):
            pending.extend((member, (link, key), depth + 1) for key, member in reversed(value.items()))
        elif isinstance(value, list):
            pending.extend((value[index], (link, index), depth + 1) for index in range(len(value) - 1, -1, -1))
    return problems


def _path(link: Link) -> tuple[str | int, ...]:
    steps: list[str | int] = []
    while link is not None:
        link, step = link
        steps.append(step)
    return tuple(reversed(steps))


def _fault(value: Any, depth: int) -> tuple[str, str] | None:
    """Code and message of what is wrong with ``value`` itself, or ``None``."""
    if isinstance(value, str):
        return _text_fault(value)
    if isinstance(value, dict | list):
        if depth >= MAX_DEPTH:
            return "nesting_too_deep", f"the document is nested deeper than {MAX_DEPTH} levels"
        return next(_key_faults(value), None) if isinstance(value, dict) else None
    return None if value is None else _number_fault(value)


def _number_fault(value: Any) -> tuple[str, str] | None:
    if not isinstance(value, int | float):
        return "invalid_value", f"a value of type {type(value).__name__} is not JSON"
    if not abs(value) < float("inf") or (isinstance(value, int) and abs(value) > MAX_INTEGER):
        return "number_out_of_range", "the number is out of range (integers are between -2^53 and 2^53)"
    return None


def _key_faults(value: dict[Any, Any]) -> Iterator[tuple[str, str]]:
    for key in value:
        if not isinstance(key, str):
            yield "invalid_key", "a key is text"
        elif fault := _text_fault(key):
            yield fault


def _text_fault(text: str) -> tuple[str, str] | None:
    if found := _FORBIDDEN.search(text):
        character = found.group()
        if "\ud800" <= character <= "\udfff":
            return "invalid_unicode", "the text holds a lone surrogate"
        code = "nul_character" if character == "\x00" else "control_character"
        return code, f"the text holds the control character U+{ord(character):04X}"
    if len(text) > MAX_STRING:
        return "too_long", f"the text has {len(text)} characters, at most {MAX_STRING} are accepted"
    if "://" in text and "@" in text and (match := _PASSWORD_IN_URL.search(text)):
        host = shown(text[match.end() :].partition("/")[0])
        return "password_in_url", f"a URL (…@{host}) holds a password; use a connection or ${{{{ secrets.NAME }}}}"
    return None
