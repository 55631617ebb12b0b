"""The functions that expressions can call: JSON values in and out, no silent conversion, bounded.

| function | gives |
| --- | --- |
| ``len(x)`` | characters of a string, elements of a list, names of an object |
| ``lower(s)`` ``upper(s)`` ``trim(s)`` | the string in lower case, in upper case, without white space at its ends |
| ``contains(x, y)`` | the same as ``y in x`` |
| ``starts_with(s, t)`` ``ends_with(s, t)`` | true or false |
| ``replace(s, old, new)`` | ``s`` with every ``old`` replaced |
| ``split(s, separator)`` ``join(list, separator)`` | a list of strings; a string |
| ``string(x)`` | a string, number or boolean as text |
| ``number(s)`` | the number that a string holds, in JSON's form |
| ``json(x)`` ``from_json(s)`` | compact JSON text of any value; the value of JSON text |
| ``min(…)`` ``max(…)`` | of numbers or strings, given one by one or as one list |
| ``abs(n)`` ``floor(n)`` ``round(n, digits)`` | numbers; ``digits`` may be left out (0) |
| ``keys(object)`` ``values(object)`` | lists |
| ``range(n)`` ``range(from, to)`` | integers, ``to`` excluded, at most 10,000 |
| ``date(s)`` | the date of an ISO 8601 instant or date, ``YYYY-MM-DD`` |
| ``add_days(s, n)`` | a date or instant ``n`` days later, in the form it came in |
| ``format_date(s, pattern, zone)`` | ``%Y %m %d %H %M %S %y %j %G %V %u %z %%``; ``zone`` may be left out |

``default(x, fallback)``, ``coalesce(x, y, …)`` and ``if(condition, x, y)`` evaluate only what they need and live in
`expression_grammar`; the first two take a path that leads to nothing for null.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from scheduler_domain.workflow.expression_dates import add_days, date_of, format_date
from scheduler_domain.workflow.expression_operators import contains
from scheduler_domain.workflow.expression_values import (
    MAX_ITEMS,
    MAX_TEXT,
    Fault,
    checked_number,
    checked_text,
    is_number,
    type_name,
    value_bytes,
)

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,39})(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,3})?")


class Function(NamedTuple):
    """``least`` and ``most`` bound the number of arguments."""

    call: Callable[..., Any]
    least: int
    most: int


def text_of(value: Any) -> str:
    """A string, number or boolean as text; nothing else has an obvious text form."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if is_number(value):
        return repr(value)
    hint = "default(…, '') gives a value instead" if value is None else "json(…) makes text of it"
    raise Fault(f"{type_name(value)} cannot become text; {hint}")


def _string(value: Any, what: str = "a string") -> str:
    if not isinstance(value, str):
        raise Fault(f"takes {what}, not {type_name(value)}")
    return value


def _integer(value: Any) -> int:
    if type(value) is not int:
        raise Fault(
            f"takes an integer, not {value!r}" if is_number(value) else f"takes an integer, not {type_name(value)}"
        )
    return value


def _len(value: Any) -> int:
    if not isinstance(value, str | list | tuple | Mapping):
        raise Fault(f"takes a string, a list or an object, not {type_name(value)}")
    return len(value)


def _replace(text: Any, old: Any, new: Any) -> str:
    text, old, new = _string(text), _string(old), _string(new)
    if not old:
        raise Fault("the text to replace is empty")
    if len(text) + text.count(old) * (len(new) - len(old)) > MAX_TEXT:
        raise Fault(f"the text is longer than {MAX_TEXT} bytes")
    return checked_text(text.replace(old, new))


def _split(text: Any, separator: Any) -> list[str]:
    if not _string(separator):
        raise Fault("the separator is empty")
    parts = _string(text).split(separator, MAX_ITEMS)
    if len(parts) > MAX_ITEMS:
        raise Fault(f"gives more than {MAX_ITEMS} parts")
    return parts


def _join(items: Any, separator: Any) -> str:
    if not isinstance(items, list | tuple):
        raise Fault(f"takes a list, not {type_name(items)}")
    size = len(_string(separator)) * len(items)
    for item in items:
        size += len(_string(item, "a list of strings"))
    if size > MAX_TEXT:
        raise Fault(f"the text is longer than {MAX_TEXT} bytes")
    return checked_text(separator.join(items))


def _number(value: Any) -> int | float:
    if is_number(value):
        return value  # type: ignore[no-any-return]
    text = _string(value, "a string that holds a number")
    if not _NUMBER.fullmatch(text):
        raise Fault(f"'{text[:40]}' is not a number")
    return checked_number(float(text) if any(sign in text for sign in ".eE") else int(text))


def _json(value: Any) -> str:
    value_bytes(value)
    return checked_text(json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=dict))


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _from_json(text: Any) -> Any:
    try:
        value = json.loads(checked_text(_string(text)), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise Fault("the text is not JSON") from None
    value_bytes(value)
    return value


def _extreme(name: str, choose: Callable[[list[Any]], Any]) -> Callable[..., Any]:
    def call(*values: Any) -> Any:
        items = list(values[0]) if len(values) == 1 and isinstance(values[0], list | tuple) else list(values)
        if not items:
            raise Fault("the list is empty")
        if not (all(map(is_number, items)) or all(isinstance(item, str) for item in items)):
            raise Fault("takes numbers only, or strings only")
        return choose(items)

    call.__name__ = name
    return call


def _numeric(operation: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def call(value: Any) -> Any:
        if not is_number(value):
            raise Fault(f"takes a number, not {type_name(value)}")
        return checked_number(operation(value))

    return call


def _round(value: Any, digits: Any = 0) -> Any:
    if not 0 <= _integer(digits) <= 15:
        raise Fault("the number of digits is between 0 and 15")
    return _numeric(lambda number: round(number, digits) if digits else round(number))(value)


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise Fault(f"takes an object, not {type_name(value)}")
    return value


def _range(first: Any, end: Any = None) -> list[int]:
    start, stop = (0, _integer(first)) if end is None else (_integer(first), _integer(end))
    if stop - start > MAX_ITEMS:
        raise Fault(f"gives more than {MAX_ITEMS} integers")
    return list(range(start, stop))


FUNCTIONS: Mapping[str, Function] = {
    "len": Function(_len, 1, 1),
    "lower": Function(lambda text: checked_text(_string(text).lower()), 1, 1),
    "upper": Function(lambda text: checked_text(_string(text).upper()), 1, 1),
    "trim": Function(lambda text: _string(text).strip(), 1, 1),
    "contains": Function(contains, 2, 2),
    "starts_with": Function(lambda text, part: _string(text).startswith(_string(part)), 2, 2),
    "ends_with": Function(lambda text, part: _string(text).endswith(_string(part)), 2, 2),
    "replace": Function(_replace, 3, 3),
    "split": Function(_split, 2, 2),
    "join": Function(_join, 2, 2),
    "string": Function(text_of, 1, 1),
    "number": Function(_number, 1, 1),
    "json": Function(_json, 1, 1),
    "from_json": Function(_from_json, 1, 1),
    "min": Function(_extreme("min", min), 1, 32),
    "max": Function(_extreme("max", max), 1, 32),
    "abs": Function(_numeric(abs), 1, 1),
    "floor": Function(_numeric(math.floor), 1, 1),
    "round": Function(_round, 1, 2),
    "keys": Function(lambda value: list(_object(value)), 1, 1),
    "values": Function(lambda value: list(_object(value).values()), 1, 1),
    "range": Function(_range, 1, 2),
    "date": Function(date_of, 1, 1),
    "add_days": Function(add_days, 2, 2),
    "format_date": Function(format_date, 2, 3),
}
