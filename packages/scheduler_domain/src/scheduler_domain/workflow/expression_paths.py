"""Reading a path such as ``tasks.extract.output.rows[0]`` out of a scope of JSON values."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from scheduler_domain.errors import ExpressionError
from scheduler_domain.workflow.expression_values import type_name

Compute = Callable[[Mapping[str, Any]], Any]

_SHOWN_NAMES = 10


class MissingValue(ExpressionError):
    """A path leads to nothing; ``default(…)`` and ``coalesce(…)`` take this for null."""


def static_path(root: str, steps: Sequence[str | int], offset: int) -> Compute:
    """A closure that follows ``steps`` from ``root``."""

    def compute(scope: Mapping[str, Any]) -> Any:
        if root not in scope:
            raise MissingValue(f"'{root}' is not available here", offset=offset)
        value = scope[root]
        for position, step in enumerate(steps):
            if type(value) is dict and step in value:
                value = value[step]
            else:
                value = _member(value, step, partial(shown_path, root, steps[:position]), offset)
        return value

    return compute


def dynamic_path(start: Compute, computed: Sequence[Compute], offset: int) -> Compute:
    """A closure that follows steps which are known only at run time."""

    def compute(scope: Mapping[str, Any]) -> Any:
        value = start(scope)
        for step in computed:
            value = _member(value, step(scope), lambda: "the value", offset)
        return value

    return compute


def shown_path(root: str, steps: Sequence[str | int]) -> str:
    return root + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)[:100]


def _member(value: Any, step: Any, path: Callable[[], str], offset: int) -> Any:
    if value is None:
        raise MissingValue(f"{path()} is null, so it has no {_shown(step)}", offset=offset)
    if isinstance(value, Mapping):
        return _named(value, step, path, offset)
    if isinstance(value, list | tuple):
        return _element(value, step, path, offset)
    raise ExpressionError(f"{path()} is {type_name(value)}, so it has no {_shown(step)}", offset=offset)


def _named(value: Mapping[str, Any], step: Any, path: Callable[[], str], offset: int) -> Any:
    if not isinstance(step, str):
        raise ExpressionError(f"{path()} is an object; it takes a name, not {type_name(step)}", offset=offset)
    if step in value:
        return value[step]
    known = sorted(value)
    more = f" and {len(known) - _SHOWN_NAMES} more" if len(known) > _SHOWN_NAMES else ""
    has = f"it has {', '.join(str(name)[:100] for name in known[:_SHOWN_NAMES])}{more}" if known else "it is empty"
    raise MissingValue(f"{path()} has no {_shown(step)}; {has}", offset=offset)


def _element(value: Sequence[Any], step: Any, path: Callable[[], str], offset: int) -> Any:
    if type(step) is not int:
        raise ExpressionError(f"{path()} is a list; it takes an index, not {type_name(step)}", offset=offset)
    if -len(value) <= step < len(value):
        return value[step]
    raise MissingValue(f"{path()} has {len(value)} elements, so it has no [{step}]", offset=offset)


def _shown(step: Any) -> str:
    return f"'{step[:100]}'" if isinstance(step, str) else f"[{str(step)[:40]}]"
