"""``:name`` parameters in SQL text, found without mistaking strings, comments and casts for them."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_TOKEN = re.compile(
    r"""
    (?P<skipped>
        (?<![\w$])[eE]'(?:[^'\\]|\\.|'')*(?:'|\Z)   # escape string
      | '[^']*(?:'|\Z)                              # string; a doubled quote is two strings in a row
      | "[^"]*(?:"|\Z)                              # quoted identifier
      | --[^\n]*
      | ::
    )
  | (?P<comment>/\*)
  | (?<![\w$])(?P<dollar>\$(?:[A-Za-z_]\w*)?\$)
  | (?<![\w:]):(?P<name>[A-Za-z_]\w*)
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_MARK = re.compile(r"/\*|\*/")


class ParameterMismatch(Exception):
    """The statement's parameters and the given ones are not the same; the message names them."""


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL text cut at its parameters: ``pieces`` has one element more than ``uses``, which are indexes into
    ``names``."""

    pieces: tuple[str, ...]
    uses: tuple[int, ...]
    names: tuple[str, ...]

    def render(self, placeholder: Callable[[int], str]) -> str:
        """The text with ``placeholder(index)`` in the place of each parameter."""
        parts = [self.pieces[0]]
        for index, piece in zip(self.uses, self.pieces[1:], strict=True):
            parts += (placeholder(index), piece)
        return "".join(parts)

    def values(self, parameters: Mapping[str, Any]) -> list[Any]:
        """The parameters in the order of ``names``; raises `ParameterMismatch`."""
        missing = [name for name in self.names if name not in parameters]
        extra = sorted(set(parameters) - set(self.names))
        if missing:
            raise ParameterMismatch(f"the statement uses :{missing[0]}, which parameters does not have")
        if extra:
            raise ParameterMismatch(f"parameters has {extra[0]!r}, which the statement does not use")
        return [parameters[name] for name in self.names]


def parse_statement(sql: str) -> Statement:
    pieces: list[str] = []
    uses: list[int] = []
    names: dict[str, int] = {}
    begin = position = 0
    while (found := _TOKEN.search(sql, position)) is not None:
        position = _end_of(sql, found)
        if (name := found["name"]) is not None:
            pieces.append(sql[begin : found.start()])
            uses.append(names.setdefault(name, len(names)))
            begin = position
    pieces.append(sql[begin:])
    return Statement(tuple(pieces), tuple(uses), tuple(names))


def _end_of(sql: str, found: "re.Match[str]") -> int:
    if found["comment"]:
        return _end_of_comment(sql, found.end())
    if found["dollar"]:
        end = sql.find(found["dollar"], found.end())
        return len(sql) if end < 0 else end + len(found["dollar"])
    return found.end()


def _end_of_comment(sql: str, position: int) -> int:
    """PostgreSQL nests comments; SQLite does not, where a second ``/*`` inside one is all but unheard of."""
    depth = 1
    while depth:
        mark = _COMMENT_MARK.search(sql, position)
        if mark is None:
            return len(sql)
        depth += 1 if mark[0] == "/*" else -1
        position = mark.end()
    return position
