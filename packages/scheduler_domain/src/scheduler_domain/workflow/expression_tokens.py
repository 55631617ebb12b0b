"""Text of an expression → tokens."""

import re
from typing import NamedTuple

from scheduler_domain.errors import ExpressionError

MAX_SOURCE = 4096
"""Characters of the longest expression."""

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)
    |(?P<number>[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<member>\.[A-Za-z_][A-Za-z0-9_]*(?:-+[A-Za-z0-9_]+)*)
    |(?P<end>\}\})
    |(?P<operator>==|!=|<=|>=|//|[<>+\-*/%()\[\],])""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)", re.DOTALL)
_ESCAPES = {"\\": "\\", '"': '"', "'": "'", "n": "\n", "t": "\t", "r": "\r", "/": "/"}
_HINTS = {
    "&": "; write 'and'",
    "|": "; write 'or'",
    "!": "; write 'not'",
    "=": "; write '==' to compare",
    "{": "; there are no object literals",
    "$": "; expressions do not nest",
    ".": "; a name follows a dot, a number goes into [ ]",
}


class Token(NamedTuple):
    """``kind`` is ``number``, ``name``, ``string``, ``member`` (a dot and its name), ``operator`` or ``end``."""

    kind: str
    text: str
    offset: int


def tokenize(text: str, start: int = 0) -> tuple[list[Token], int]:
    """The tokens from ``start`` to the end or to ``}}``, the last of kind ``end``, and the offset behind them.

    A minus sign inside a name after a dot belongs to the name (``tasks.load-all``); white space around it subtracts.
    """
    tokens: list[Token] = []
    position = start
    while position < len(text) and position - start <= MAX_SOURCE:
        found = _TOKEN.match(text, position)
        if found is None or found.lastgroup is None:
            raise ExpressionError(_unexpected(text, position), offset=position)
        if found.lastgroup != "space":
            tokens.append(Token(found.lastgroup, found.group(), position))
        position = found.end()
        if found.lastgroup == "end":
            return tokens, position
    if position - start > MAX_SOURCE:
        raise ExpressionError(f"the expression is longer than {MAX_SOURCE} characters", offset=start)
    tokens.append(Token("end", "", position))
    return tokens, position


def _unexpected(text: str, position: int) -> str:
    character = text[position]
    if character in "\"'":
        return "the string is not closed"
    return f"unexpected {character!r}{_HINTS.get(character, '')}"


def string_value(token: Token) -> str:
    r"""What a string literal holds; escapes are ``\n \t \r \\ \/ \" \'`` and ``\uXXXX``."""

    def replace(found: re.Match[str]) -> str:
        escape = found[1]
        value = chr(int(escape[1:], 16)) if len(escape) == 5 else _ESCAPES.get(escape)
        if value is None or value == "\x00" or "\ud800" <= value <= "\udfff":
            raise ExpressionError(f"'\\{escape}' is not an accepted escape", offset=token.offset + found.start() + 1)
        return value

    return _ESCAPE.sub(replace, token.text[1:-1])
