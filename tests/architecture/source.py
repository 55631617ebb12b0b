"""The project's own Python files, as syntax trees."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Source:
    """``path`` is relative to the repository's root, with forward slashes."""

    path: str
    tree: ast.Module

    def at(self, node: ast.expr | ast.stmt) -> str:
        return f"{self.path}:{node.lineno}"


@cache
def sources(*folders: str) -> tuple[Source, ...]:
    """Every Python file under ``folders``; a folder that does not exist has none."""
    return tuple(
        Source(file.relative_to(ROOT).as_posix(), ast.parse(file.read_bytes(), str(file)))
        for folder in folders
        for file in sorted((ROOT / folder).rglob("*.py"))
    )


def imported_modules(source: Source) -> Iterator[tuple[ast.stmt, str]]:
    """Every absolute import, also those inside functions and under ``TYPE_CHECKING``."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node, node.module


def qualified_names(source: Source) -> Iterator[tuple[ast.expr, str]]:
    """Every use of an imported name, spelt out: ``from datetime import datetime as dt; dt.now`` gives
    ``datetime.datetime.now``."""
    origins = _origins(source)
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute | ast.Name):
            name = _dotted(node)
            head, _, rest = name.partition(".")
            if head in origins:
                yield node, f"{origins[head]}.{rest}" if rest else origins[head]


def _origins(source: Source) -> dict[str, str]:
    """What each name that an import binds stands for."""
    origins: dict[str, str] = {}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                head = alias.name.partition(".")[0]
                origins[alias.asname or head] = alias.name if alias.asname else head
        elif isinstance(node, ast.ImportFrom) and node.module:
            origins.update({alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names})
    return origins


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        owner = _dotted(node.value)
        return f"{owner}.{node.attr}" if owner else ""
    return ""
