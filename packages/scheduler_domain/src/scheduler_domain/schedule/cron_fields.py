"""One field of a cron expression: values, ranges, steps, lists, names, and the hashed value ``H``.

Debian's rules (crontab(5), cron 3.0pl1), but strict where its daemon is silent: a reversed range, which Debian accepts
and never runs, and text after a valid beginning, which it skips, are refused.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_HASHED = re.compile(r"[Hh](?:\(([0-9]{1,4})-([0-9]{1,4})\))?")
_DIGITS = re.compile(r"[0-9]{1,9}")


class PartError(ValueError):
    """A token is wrong; the text says what is and what is accepted, without the field's name."""


@dataclass(frozen=True, slots=True)
class Field:
    """What one field accepts. ``hashed`` is the range of ``H``; ``max_step`` is absent where Debian's rule for long
    steps stands (a step past the end leaves the first value)."""

    name: str
    low: int
    high: int
    hashed: tuple[int, int]
    names: Mapping[str, int] = field(default_factory=dict)
    max_step: int | None = None
    more: str = ""

    @property
    def accepted(self) -> str:
        named = f", names {next(iter(self.names))} to {list(self.names)[-1]}" if self.names else ""
        return f"{self.low}-{self.high}{named}, *, a-b, */n, a-b/n, H{self.more} and lists of these with commas"


_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAY_NAMES = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")

# A minute step of 90 means to its author 'every 90 minutes' and to Debian 'once an hour': refused. In the other fields
# crontabs rely on what Debian does.
SECOND = Field("second", 0, 59, (0, 59), max_step=59)
MINUTE = Field("minute", 0, 59, (0, 59), max_step=59)
HOUR = Field("hour", 0, 23, (0, 23))
DAY_OF_MONTH = Field("day of month", 1, 31, (1, 28), more=", L, L-n, LW, nW")
MONTH = Field("month", 1, 12, (1, 12), {name: n for n, name in enumerate(_MONTH_NAMES, start=1)})
DAY_OF_WEEK = Field(
    "day of week", 0, 7, (0, 6), {name: n for n, name in enumerate(_WEEKDAY_NAMES)}, more=", nL, n#1 to n#5"
)


def shown(token: str) -> str:
    """The token for a message: quoted, control characters escaped, at most 40 characters."""
    return repr(token) if len(token) <= 40 else repr(token[:40]) + "…"


def values_of(spec: Field, part: str, seed: str) -> int:
    """The mask of the values that one part of a list names; raises `PartError`."""
    body, slash, step_text = part.partition("/")
    step = _step(spec, step_text) if slash else None
    if body == "*":
        return _mask(spec.low, spec.high, step or 1)
    if hashed := _HASHED.fullmatch(body):
        return _hashed_values(spec, hashed, step, seed)
    low_text, dash, high_text = body.partition("-")
    low = value_of(spec, low_text)
    if not dash:
        if slash:
            raise PartError(f"a step needs a range: write {low_text}-{spec.high}/{step_text}")
        return 1 << low
    high = value_of(spec, high_text)
    if low > high:
        raise PartError("the range runs backwards: write two ranges with a comma between them")
    return _mask(low, high, step or 1)


def value_of(spec: Field, text: str) -> int:
    """The number that a value or name stands for; raises `PartError`."""
    named = spec.names.get(text.lower())
    if named is not None:
        return named
    if not _DIGITS.fullmatch(text):
        raise PartError(_not_a_value(text))
    value = int(text)
    if not spec.low <= value <= spec.high:
        raise PartError(f"{value} is out of range")
    return value


def _not_a_value(text: str) -> str:
    if text == "?":
        return "'?' is not accepted: write *"
    if text in {"R", "r"}:
        return "random values are not accepted: H gives each trigger its own fixed value"
    return f"{shown(text)} is not a value" if text else "a value is missing"


def _step(spec: Field, text: str) -> int:
    if not _DIGITS.fullmatch(text) or int(text) == 0:
        raise PartError("a step is a whole number from 1 on" if text else "the step is missing")
    step = int(text)
    if spec.max_step is not None and step > spec.max_step:
        raise PartError(f"the step is past the end of the field: at most {spec.max_step}")
    return step


def _hashed_values(spec: Field, hashed: re.Match[str], step: int | None, seed: str) -> int:
    low, high = spec.hashed
    if hashed[1] is not None:
        low, high = value_of(spec, hashed[1]), value_of(spec, hashed[2])
        if low > high:
            raise PartError("the range runs backwards")
    span = high - low + 1
    if step is not None and step > span:
        raise PartError(f"the step is larger than the {span} values that H chooses from")
    # Not hash(): it differs from process to process.
    digest = hashlib.sha256(f"{spec.name}\0{seed}".encode("utf-8", "surrogatepass")).digest()
    offset = int.from_bytes(digest[:8], "big") % (step or span)
    return _mask(low + offset, high, step) if step else 1 << (low + offset)


def _mask(low: int, high: int, step: int) -> int:
    return sum(1 << value for value in range(low, high + 1, step))
