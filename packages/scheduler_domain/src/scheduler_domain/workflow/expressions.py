"""The small language of ``${{ … }}``: typed, bounded, without attribute access to Python objects or loops.

The grammar is in `expression_grammar`, the functions in `expression_functions`, the names in `scope`. In a string
``$${{`` stands for a literal ``${{``; every other text, ``{{ }}`` of Jinja included, is literal.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from scheduler_domain.errors import ExpressionError
from scheduler_domain.workflow.expression_functions import text_of
from scheduler_domain.workflow.expression_grammar import ExpressionParser
from scheduler_domain.workflow.expression_paths import Compute, MissingValue
from scheduler_domain.workflow.expression_tokens import tokenize
from scheduler_domain.workflow.expression_values import MAX_DEPTH, MAX_TEXT, Fault, value_bytes

__all__ = ["Expression", "MissingValue", "Template", "parse_embedded", "parse_expression", "parse_template"]

MAX_RENDERED = 4 * MAX_TEXT
"""Bytes that the expressions of one template may add in all."""

_REMEMBERED = 256
"""Characters of the longest text whose parsed form is kept."""

Render = Callable[["_Rendering"], Any]


@dataclass(frozen=True, slots=True)
class Expression:
    """One parsed expression; ``references`` are the paths it names, e.g. ``("tasks", "extract", "output", "rows")``.

    A reference ends where an index is computed; a literal index is part of it as text.
    """

    source: str
    references: frozenset[tuple[str, ...]]
    _compute: Compute = field(repr=False, compare=False)

    def evaluate(self, scope: Mapping[str, Any]) -> Any:
        """Its value over ``scope`` (``{"inputs": {...}, "tasks": {...}, …}``); raises `ExpressionError`.

        A path that leads to nothing raises `MissingValue`. The value is at most `MAX_TEXT` bytes as JSON.
        """
        return self.measured(scope)[0]

    def measured(self, scope: Mapping[str, Any]) -> tuple[Any, int]:
        """As `evaluate`, with about how many bytes the value has as JSON."""
        try:
            value = self._compute(scope)
            return value, value_bytes(value)
        except Fault as fault:
            raise ExpressionError(str(fault)) from None
        except RecursionError:
            raise ExpressionError("the value is nested too deep") from None
        except (ArithmeticError, ValueError):
            # Integers of thousands of digits, which only a scope can bring in.
            raise ExpressionError("a number is out of range") from None


@dataclass(slots=True)
class _Rendering:
    """One rendering of a template: its scope and how many bytes its expressions may still add."""

    scope: Mapping[str, Any]
    left: int = MAX_RENDERED

    def value(self, expression: Expression) -> Any:
        value, size = expression.measured(self.scope)
        self.left -= size
        if self.left < 0:
            raise ExpressionError(f"the expressions add more than {MAX_RENDERED} bytes")
        return value


@dataclass(frozen=True, slots=True)
class Template:
    """A JSON value in which any string may hold ``${{ … }}``.

    A string that is one expression and nothing else renders to that expression's typed value; otherwise each
    expression is put into the text, which takes strings, numbers and booleans only.
    """

    source: Any
    references: frozenset[tuple[str, ...]]
    _render: Render = field(repr=False, compare=False)
    is_constant: bool = True

    def render(self, scope: Mapping[str, Any]) -> Any:
        """The value with every expression evaluated over ``scope``; raises `ExpressionError`."""
        return self._render(_Rendering(scope))


def parse_expression(text: str) -> Expression:
    """``text`` without its ``${{ }}``; raises `ExpressionError` with the offset of the fault."""
    tokens, end = tokenize(text)
    if end < len(text) or tokens[-1].text:
        raise ExpressionError("unexpected '}}'; give the expression without its ${{ }}", offset=tokens[-1].offset)
    return _parsed(text.strip(), tokens)


def _parsed(source: str, tokens: list[Any]) -> Expression:
    parser = ExpressionParser(tokens)
    compute = parser.parse()
    return Expression(source, frozenset(parser.references), compute)


def parse_embedded(text: str) -> Expression:
    """The expression of a field that takes one: ``text`` is ``${{ … }}`` and nothing else; raises `ExpressionError`."""
    parts = _split(text.strip())
    if len(parts) != 1 or not isinstance(parts[0], Expression):
        raise ExpressionError("expected one expression and nothing else, such as ${{ inputs.strict }}")
    return parts[0]


def parse_template(value: Any) -> Template:
    """A template of any JSON value; raises `ExpressionError` with the offset in the string at fault."""
    found: list[Expression] = []
    render = _renderer(value, found, 0)
    references = frozenset(reference for expression in found for reference in expression.references)
    return Template(value, references, render, not found)


def _renderer(value: Any, found: list[Expression], depth: int) -> Render:
    if depth > MAX_DEPTH:
        raise ExpressionError(f"the value is nested deeper than {MAX_DEPTH}")
    if isinstance(value, str):
        return _text_renderer(value, found)
    if isinstance(value, list):
        items = [_renderer(item, found, depth + 1) for item in value]
        return lambda rendering: [render(rendering) for render in items]
    if isinstance(value, Mapping):
        if any("${{" in key for key in value):
            raise ExpressionError("a name in an object cannot hold an expression")
        members = [(key, _renderer(member, found, depth + 1)) for key, member in value.items()]
        return lambda rendering: {key: render(rendering) for key, render in members}
    return lambda _rendering: value


def _text_renderer(text: str, found: list[Expression]) -> Render:
    if "${{" not in text:
        return lambda _rendering: text
    parts = _split(text)
    expressions = [part for part in parts if isinstance(part, Expression)]
    found.extend(expressions)
    if len(parts) == 1 and expressions:
        only = expressions[0]
        return lambda rendering: rendering.value(only)
    return lambda rendering: "".join(
        part if isinstance(part, str) else _as_text(rendering.value(part), part) for part in parts
    )


def _split(text: str) -> tuple[str | Expression, ...]:
    """Literal texts and expressions, in order. A workflow repeats its short texts, so those are parsed once."""
    return _split_once(text) if len(text) <= _REMEMBERED else _split_anew(text)


def _split_anew(text: str) -> tuple[str | Expression, ...]:
    parts: list[str | Expression] = []
    position = 0
    while (start := text.find("${{", position)) >= 0:
        if start > position and text[start - 1] == "$":
            parts.append(text[position : start - 1] + "${{")
            position = start + 3
            continue
        if start > position:
            parts.append(text[position:start])
        tokens, position = tokenize(text, start + 3)
        if tokens[-1].text != "}}":
            raise ExpressionError("'${{' is not closed with '}}'; write $${{ for a literal ${{", offset=start)
        parts.append(_parsed(text[start + 3 : position - 2].strip(), tokens))
    if position < len(text):
        parts.append(text[position:])
    return tuple(parts)


_split_once = lru_cache(maxsize=4096)(_split_anew)


def _as_text(value: Any, expression: Expression) -> str:
    try:
        return text_of(value)
    except Fault as fault:
        raise ExpressionError(f"{expression.source[:100]}: {fault}") from None
