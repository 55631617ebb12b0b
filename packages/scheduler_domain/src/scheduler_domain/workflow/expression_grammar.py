"""Tokens → one closure that computes the expression.

    expression  = or
    or          = and { "or" and }                and = not { "and" not }           not = "not" not | comparison
    comparison  = sum [ ("==" | "!=" | "<" | "<=" | ">" | ">=" | "in" | "not" "in") sum ]
    sum         = product { ("+" | "-") product }                product = sign { ("*" | "/" | "//" | "%") sign }
    sign        = "-" sign | primary
    primary     = number | string | "true" | "false" | "null" | "(" expression ")"
                | "[" [ expression { "," expression } ] "]"
                | function "(" [ expression { "," expression } ] ")" | root { "." name | "[" expression "]" }

Paths read objects and lists only, never attributes of Python objects. What a path needs is known from its text:
`ExpressionParser.references`.
"""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from scheduler_domain.errors import ExpressionError
from scheduler_domain.workflow.expression_closures import (
    binary,
    both,
    call,
    choose,
    constant,
    either,
    first_present,
    list_of,
    unary,
)
from scheduler_domain.workflow.expression_functions import FUNCTIONS
from scheduler_domain.workflow.expression_operators import BINARY, negate, truth
from scheduler_domain.workflow.expression_paths import Compute, dynamic_path, static_path
from scheduler_domain.workflow.expression_tokens import Token, string_value
from scheduler_domain.workflow.expression_values import Fault, checked_number
from scheduler_domain.workflow.scope import NAMED_ROOTS, ROOTS

MAX_NODES = 64
MAX_NESTING = 32

_LONGEST_INTEGER = 17
"""Digits; whatever is longer is out of range with these alone."""

_LAZY = {"default": (2, 2), "coalesce": (2, 16), "if": (3, 3)}
_WORDS = frozenset({"and", "or", "not", "in", "true", "false", "null"})
_CONSTANTS = {"true": True, "false": False, "null": None}
_COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">=", "in", "not"})


class ExpressionParser:
    """Recursive descent over ``tokens`` (the last is of kind ``end``); `parse` once, then read ``references``."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self.references: set[tuple[str, ...]] = set()
        self._tokens = tokens
        self._position = 0
        self._nodes = 0
        self._nesting = 0

    def parse(self) -> Compute:
        if self._tokens[0].kind == "end":
            raise ExpressionError("the expression is empty", offset=self._tokens[0].offset)
        compute = self._expression()
        if self._next.kind != "end":
            raise self._unexpected()
        return compute

    @property
    def _next(self) -> Token:
        return self._tokens[self._position]

    def _take(self, *texts: str) -> Token | None:
        """The next token, taken, where it is one of these operators or words; else ``None``."""
        token = self._next
        if token.text in texts and token.kind in ("operator", "name"):
            self._position += 1
            return token
        return None

    def _expect(self, text: str) -> None:
        if not self._take(text):
            raise ExpressionError(f"expected '{text}'{self._found()}", offset=self._next.offset)

    def _found(self) -> str:
        return f", found '{self._next.text[:40]}'" if self._next.text not in ("", "}}") else " before the end"

    def _unexpected(self) -> ExpressionError:
        if self._next.kind == "end":
            return ExpressionError("the expression ends too early", offset=self._next.offset)
        return ExpressionError(f"unexpected '{self._next.text[:40]}'", offset=self._next.offset)

    def _count(self, offset: int) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise ExpressionError(f"the expression has more than {MAX_NODES} parts", offset=offset)

    def _expression(self) -> Compute:
        self._nesting += 1
        if self._nesting > MAX_NESTING:
            raise ExpressionError(f"the expression is nested deeper than {MAX_NESTING}", offset=self._next.offset)
        compute = self._or()
        self._nesting -= 1
        return compute

    def _or(self) -> Compute:
        left = self._and()
        while token := self._take("or"):
            self._count(token.offset)
            left = either(left, self._and(), token.offset)
        return left

    def _and(self) -> Compute:
        left = self._not()
        while token := self._take("and"):
            self._count(token.offset)
            left = both(left, self._not(), token.offset)
        return left

    def _not(self) -> Compute:
        if token := self._take("not"):
            self._count(token.offset)
            return unary(lambda value: not truth(value, "not"), self._not(), token.offset)
        return self._comparison()

    def _comparison(self) -> Compute:
        left = self._sum()
        token = self._take(*_COMPARISONS)
        if token is None:
            return left
        self._count(token.offset)
        symbol = token.text
        if symbol == "not":
            self._expect("in")
            symbol = "not in"
        compute = binary(BINARY[symbol], left, self._sum(), token.offset)
        if self._next.text in _COMPARISONS and self._next.kind in ("operator", "name"):
            raise ExpressionError("comparisons do not chain; join them with 'and'", offset=self._next.offset)
        return compute

    def _sum(self) -> Compute:
        left = self._product()
        while token := self._take("+", "-"):
            self._count(token.offset)
            left = binary(BINARY[token.text], left, self._product(), token.offset)
        return left

    def _product(self) -> Compute:
        left = self._sign()
        while token := self._take("*", "/", "//", "%"):
            self._count(token.offset)
            left = binary(BINARY[token.text], left, self._sign(), token.offset)
        return left

    def _sign(self) -> Compute:
        if token := self._take("-"):
            self._count(token.offset)
            return unary(negate, self._sign(), token.offset)
        return self._primary()

    def _primary(self) -> Compute:
        token = self._next
        if token.kind in ("number", "string"):
            return self._literal(token)
        if token.kind == "name":
            return self._named(token)
        if self._take("("):
            inner = self._expression()
            self._expect(")")
            return inner
        if self._take("["):
            self._count(token.offset)
            return list_of(self._arguments("]"))
        raise self._unexpected()

    def _literal(self, token: Token) -> Compute:
        self._count(token.offset)
        self._position += 1
        if token.kind == "string":
            return constant(string_value(token))
        try:
            whole = token.text.isdigit()
            return constant(checked_number(int(token.text[:_LONGEST_INTEGER]) if whole else float(token.text)))
        except Fault as fault:
            raise ExpressionError(str(fault), offset=token.offset) from None

    def _named(self, token: Token) -> Compute:
        self._count(token.offset)
        self._position += 1
        if self._take("("):
            return self._call(token)
        if token.text in _CONSTANTS:
            return constant(_CONSTANTS[token.text])
        if token.text in _WORDS:
            self._position -= 1
            raise self._unexpected()
        if token.text not in ROOTS:
            raise ExpressionError(_unknown("name", token.text, ROOTS), offset=token.offset)
        return self._path(token)

    def _arguments(self, closing: str) -> list[Compute]:
        if self._take(closing):
            return []
        found = [self._expression()]
        while self._take(","):
            found.append(self._expression())
        self._expect(closing)
        return found

    def _call(self, token: Token) -> Compute:
        name, arguments = token.text, self._arguments(")")
        function = FUNCTIONS.get(name)
        if function is None and name not in _LAZY:
            raise ExpressionError(_unknown("function", name, (*FUNCTIONS, *_LAZY)), offset=token.offset)
        least, most = _LAZY[name] if function is None else (function.least, function.most)
        if not least <= len(arguments) <= most:
            takes = str(least) if least == most else f"{least} to {most}"
            raise ExpressionError(f"{name}() takes {takes} arguments, not {len(arguments)}", offset=token.offset)
        if function is not None:
            return call(name, function.call, arguments, token.offset)
        return choose(arguments, token.offset) if name == "if" else first_present(arguments)

    def _path(self, root: Token) -> Compute:
        """The longest static beginning is a reference; an index that is computed ends it."""
        steps: list[Any] = []
        computed: list[Compute | Any] = []
        while True:
            step, is_static = self._step()
            if step is None:
                break
            if is_static and not computed:
                steps.append(step)
            else:
                computed.append(constant(step) if is_static else step)
        if root.text in NAMED_ROOTS and not (steps and isinstance(steps[0], str)):
            raise ExpressionError(f"name one member: {root.text}.NAME", offset=root.offset)
        self.references.add((root.text, *map(str, steps)))
        start = static_path(root.text, steps, root.offset)
        return dynamic_path(start, computed, root.offset) if computed else start

    def _step(self) -> tuple[Any, bool]:
        """The next ``.name`` or ``[index]``: its value and ``True`` where literal, else a closure and ``False``."""
        token = self._next
        if token.kind == "member":
            self._position += 1
            return token.text[1:], True
        if not self._take("["):
            return None, True
        literal, after = self._next, self._tokens[min(self._position + 1, len(self._tokens) - 1)]
        if literal.kind in ("string", "number") and after.text == "]" and after.kind == "operator":
            self._position += 2
            if literal.kind == "number" and not literal.text.isdigit():
                raise ExpressionError("an index is a whole number or a string", offset=literal.offset)
            return (string_value(literal) if literal.kind == "string" else int(literal.text[:_LONGEST_INTEGER])), True
        inner = self._expression()
        self._expect("]")
        return inner, False


def _unknown(what: str, name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, known, n=1)
    meant = f"; did you mean '{near[0]}'?" if near else ""
    return f"unknown {what} '{name[:100]}'{meant} (accepted: {', '.join(known)})"
