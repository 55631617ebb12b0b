"""When a crontab's entry is due: the five fields, or ``@daily`` and the like (cron 3.0pl1, entry.c).

Cron is lax where our own expressions are strict: it skips what follows a number (``7#3`` is Sunday, not the third
one), runs a range that goes backwards never, and takes a step past the end for its first value. `read_times` gives an
expression of ours that says what cron does, and remarks on what it left out.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from scheduler_domain.naming import shown

NICKNAMES = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
REBOOT = "@reboot"

_ALPHANUMERICS = re.compile(r"[0-9A-Za-z]*")
_LONGEST_NUMBER = 9
_LONGEST_MINUTE_STEP = 59


class BadTimes(ValueError):
    """Cron refuses the line; the text begins with cron's own words for it."""


@dataclass(frozen=True, slots=True)
class Times:
    """``expression`` is ``None`` where nothing ever matches, and for ``@reboot``."""

    expression: str | None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    low: int
    high: int
    names: Sequence[str] = ()
    first_name: int = 0


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day-of-month", 1, 31),
    _Field("month", 1, 12, _MONTHS, 1),
    _Field("day-of-week", 0, 7, _WEEKDAYS),
)


def read_times(content: str) -> tuple[str, Times, str]:
    """The schedule as written, what it means, and the rest of the line; raises `BadTimes`."""
    if content.startswith("@"):
        word, rest = _next_word(content)
        return word, _nickname(word), rest
    written: list[str] = []
    meant: list[str] = []
    remarks: list[str] = []
    rest = content
    for spec in _FIELDS:
        word, rest = _next_word(rest)
        if not word:
            raise BadTimes(f"bad {spec.name}: too few fields, found {len(written)} of 5 before a command")
        written.append(word)
        meant.append(_read_field(spec, word, remarks))
    expression = " ".join(meant) if all(meant) else None
    return " ".join(written), Times(expression, tuple(remarks)), rest


def _next_word(text: str) -> tuple[str, str]:
    word = re.split("[ \t]", text, maxsplit=1)[0]
    return word, text[len(word) :].lstrip(" \t")


def _nickname(word: str) -> Times:
    if word == REBOOT:
        return Times(None)
    if word not in NICKNAMES:
        raise BadTimes(f"bad time specifier: {shown(word)!r} (accepted: {', '.join((*NICKNAMES, REBOOT))})")
    return Times(word)


def _read_field(spec: _Field, word: str, remarks: list[str]) -> str:
    """The parts that cron takes, with commas; empty where they name no value."""
    parts: list[str] = []
    place = 0
    while True:
        part, place = _read_part(spec, word, place, remarks)
        if part:
            # A '*' that is not the field's first character says nothing about how days or clock changes are taken.
            parts.append(part if not part.startswith("*") or word[0] == "*" else f"{spec.low}-{spec.high}{part[1:]}")
        if word[place : place + 1] != ",":
            break
        place += 1
    if place < len(word):
        remarks.append(f"cron ignores {shown(word[place:])!r} in the {spec.name} field {shown(word)!r}")
    return ",".join(parts)


def _read_part(spec: _Field, word: str, place: int, remarks: list[str]) -> tuple[str, int]:
    """One part of a list, empty where it names no value, and the place behind it."""
    start = place
    if word[place : place + 1] == "*":
        low, high = spec.low, spec.high
        place += 1
    else:
        low, place = _number(spec, word, place, spec.names)
        if word[place : place + 1] == "/":
            raise _bad(spec, word, "a step needs a range before it")
        if word[place : place + 1] != "-":
            _check_range(spec, word, low, low)
            return word[start:place], place
        high, place = _number(spec, word, place + 1, spec.names)
    step = 1
    if word[place : place + 1] == "/":
        step, place = _number(spec, word, place + 1, ())
        if step == 0:
            raise _bad(spec, word, "a step is at least 1")
    _check_range(spec, word, low, high)
    return _meaning(spec, word[start:place], low, high, step, remarks), place


def _meaning(spec: _Field, text: str, low: int, high: int, step: int, remarks: list[str]) -> str:
    where = f"{shown(text)!r} in the {spec.name} field"
    if low > high:
        remarks.append(f"the range {where} runs backwards: cron never runs it")
        return ""
    if step > high - low > 0:
        remarks.append(f"the step of {where} is past its end: cron runs only at {low}")
        return str(low) if step > _LONGEST_MINUTE_STEP and spec.name == "minute" else text
    return text


def _number(spec: _Field, word: str, place: int, names: Sequence[str]) -> tuple[int, int]:
    found = _ALPHANUMERICS.match(word, place)
    text = found.group() if found else ""
    end = place + len(text)
    if text.lower() in names:
        return names.index(text.lower()) + spec.first_name, end
    if not text.isdigit():
        raise _bad(spec, word, f"{shown(text)!r} is not a number" if text else "a number is missing")
    if len(text.lstrip("0")) > _LONGEST_NUMBER:
        raise _bad(spec, word, f"{shown(text)!r} is too large")
    return int(text), end


def _check_range(spec: _Field, word: str, low: int, high: int) -> None:
    for value in (low, high):
        if not spec.low <= value <= spec.high:
            raise _bad(spec, word, f"{value} is out of range, {spec.low} to {spec.high} are accepted")


def _bad(spec: _Field, word: str, why: str) -> BadTimes:
    return BadTimes(f"bad {spec.name}: {shown(word)!r}, {why}")
