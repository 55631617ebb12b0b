"""What the operators of the expression language do to JSON values. No operator converts a value by itself."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from scheduler_domain.workflow.expression_values import Fault, checked_number, checked_text, equal, is_number, type_name


def _numbers(symbol: str, left: Any, right: Any) -> None:
    if not (is_number(left) and is_number(right)):
        raise Fault(f"'{symbol}' takes two numbers, not {type_name(left)} and {type_name(right)}")


def _add(left: Any, right: Any) -> Any:
    if isinstance(left, str) and isinstance(right, str):
        return checked_text(left + right)
    if not (is_number(left) and is_number(right)):
        raise Fault(
            f"'+' takes two numbers or two strings, not {type_name(left)} and {type_name(right)} (string(x) makes text)"
        )
    return checked_number(left + right)


def _arithmetic(symbol: str, operation: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def apply(left: Any, right: Any) -> Any:
        _numbers(symbol, left, right)
        try:
            return checked_number(operation(left, right))
        except ZeroDivisionError:
            raise Fault("division by zero") from None
        except OverflowError:
            raise Fault("the result is not a finite number") from None

    return apply


def _ordering(symbol: str, operation: Callable[[Any, Any], bool]) -> Callable[[Any, Any], Any]:
    def apply(left: Any, right: Any) -> bool:
        if (is_number(left) and is_number(right)) or (isinstance(left, str) and isinstance(right, str)):
            return operation(left, right)
        raise Fault(f"'{symbol}' takes two numbers or two strings, not {type_name(left)} and {type_name(right)}")

    return apply


def contains(container: Any, item: Any) -> bool:
    """Whether ``item`` is a part of a string, an element of a list or a name of an object."""
    if isinstance(container, list | tuple):
        return any(equal(item, element) for element in container)
    if not isinstance(container, str | Mapping):
        raise Fault(f"'in' takes a string, a list or an object on its right, not {type_name(container)}")
    if not isinstance(item, str):
        raise Fault(f"only a string can be in {type_name(container)}, not {type_name(item)}")
    return item in container


def negate(value: Any) -> Any:
    if not is_number(value):
        raise Fault(f"'-' takes a number, not {type_name(value)}")
    return -value


def truth(value: Any, symbol: str) -> bool:
    if value is True or value is False:
        return bool(value)
    raise Fault(f"'{symbol}' takes true or false, not {type_name(value)}")


BINARY: Mapping[str, Callable[[Any, Any], Any]] = {
    "==": equal,
    "!=": lambda left, right: not equal(left, right),
    "<": _ordering("<", lambda left, right: left < right),
    "<=": _ordering("<=", lambda left, right: left <= right),
    ">": _ordering(">", lambda left, right: left > right),
    ">=": _ordering(">=", lambda left, right: left >= right),
    "in": lambda left, right: contains(right, left),
    "not in": lambda left, right: not contains(right, left),
    "+": _add,
    "-": _arithmetic("-", lambda left, right: left - right),
    "*": _arithmetic("*", lambda left, right: left * right),
    "/": _arithmetic("/", lambda left, right: left / right),
    "//": _arithmetic("//", lambda left, right: math.floor(left / right) if _inexact(left, right) else left // right),
    "%": _arithmetic("%", lambda left, right: left % right),
}


def _inexact(left: Any, right: Any) -> bool:
    return isinstance(left, float) or isinstance(right, float)
