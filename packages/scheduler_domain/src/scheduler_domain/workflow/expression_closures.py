"""The parts of a compiled expression: each a closure over the closures of its operands.

What an operator cannot take becomes an `ExpressionError` with the place of the operator in the text.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from scheduler_domain.errors import ExpressionError
from scheduler_domain.workflow.expression_operators import truth
from scheduler_domain.workflow.expression_paths import Compute, MissingValue
from scheduler_domain.workflow.expression_values import Fault


def constant(value: Any) -> Compute:
    return lambda _scope: value


def list_of(items: Sequence[Compute]) -> Compute:
    return lambda scope: [item(scope) for item in items]


def unary(operation: Callable[[Any], Any], operand: Compute, offset: int) -> Compute:
    def compute(scope: Mapping[str, Any]) -> Any:
        try:
            return operation(operand(scope))
        except Fault as fault:
            raise ExpressionError(str(fault), offset=offset) from None

    return compute


def binary(operation: Callable[[Any, Any], Any], left: Compute, right: Compute, offset: int) -> Compute:
    def compute(scope: Mapping[str, Any]) -> Any:
        try:
            return operation(left(scope), right(scope))
        except Fault as fault:
            raise ExpressionError(str(fault), offset=offset) from None

    return compute


def both(left: Compute, right: Compute, offset: int) -> Compute:
    def compute(scope: Mapping[str, Any]) -> bool:
        try:
            return truth(left(scope), "and") and truth(right(scope), "and")
        except Fault as fault:
            raise ExpressionError(str(fault), offset=offset) from None

    return compute


def either(left: Compute, right: Compute, offset: int) -> Compute:
    def compute(scope: Mapping[str, Any]) -> bool:
        try:
            return truth(left(scope), "or") or truth(right(scope), "or")
        except Fault as fault:
            raise ExpressionError(str(fault), offset=offset) from None

    return compute


def call(name: str, function: Callable[..., Any], arguments: Sequence[Compute], offset: int) -> Compute:
    def compute(scope: Mapping[str, Any]) -> Any:
        try:
            return function(*[argument(scope) for argument in arguments])
        except Fault as fault:
            raise ExpressionError(f"{name}(): {fault}", offset=offset) from None

    return compute


def choose(arguments: Sequence[Compute], offset: int) -> Compute:
    condition, then, otherwise = arguments

    def compute(scope: Mapping[str, Any]) -> Any:
        try:
            chosen = then if truth(condition(scope), "if") else otherwise
        except Fault as fault:
            raise ExpressionError(str(fault), offset=offset) from None
        return chosen(scope)

    return compute


def first_present(arguments: Sequence[Compute]) -> Compute:
    """The first argument that neither is missing nor null; the last as it is."""

    def compute(scope: Mapping[str, Any]) -> Any:
        for argument in arguments[:-1]:
            try:
                value = argument(scope)
            except MissingValue:
                continue
            if value is not None:
                return value
        return arguments[-1](scope)

    return compute
