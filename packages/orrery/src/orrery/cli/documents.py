"""The documents that a path on the command line stands for: a file, a folder of files, or ``-`` for standard input."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from orrery.cli.failures import CommandFailed, UsageError
from orrery.errors import InvalidWorkflow

MAX_BYTES = 1024 * 1024
"""The server takes no larger definition; a larger file is not even read."""

FORMATS = {".yaml": "yaml", ".yml": "yaml", ".json": "json", ".py": "python"}
MEDIA_TYPES = {"yaml": "application/yaml", "json": "application/json"}


@dataclass(frozen=True, slots=True)
class Document:
    """``label`` is for people; ``folder`` holds its code (``None``: standard input); ``format`` is yaml or json.

    Lines and columns of a ``generated`` document mean nothing to who wrote the Python that it comes from.
    """

    label: str
    content: bytes
    format: str
    folder: Path | None
    generated: bool = False


def read_documents(path: str, stdin: TextIO) -> list[Document]:
    """Every document of ``path``, at least one. A folder gives all YAML files below it, in order of their names."""
    if path == "-":
        return [Document("<stdin>", _bounded("<stdin>", _read_stream(stdin)), "yaml", None)]
    if path.startswith("-"):
        raise UsageError(f"Unknown option: {path}")
    root = Path(path)
    if root.is_dir():
        files = sorted(file for file in root.rglob("*") if file.suffix in (".yaml", ".yml") and file.is_file())
        if not files:
            raise CommandFailed(f"{path} holds no .yaml or .yml file")
        return [document for file in files for document in _read_file(file)]
    if root.suffix not in FORMATS:
        raise UsageError(f"{path} must be a folder, a .yaml, .json or .py file, or - for standard input")
    return list(_read_file(root))


def _read_stream(stdin: TextIO) -> bytes:
    try:
        return stdin.read(MAX_BYTES + 1).encode()
    except UnicodeDecodeError as error:
        raise CommandFailed("<stdin> is not UTF-8 text") from error


def _read_file(file: Path) -> Iterator[Document]:
    try:
        if not file.is_file():
            raise CommandFailed(f"{file} is not a file" if file.exists() else f"{file} does not exist")
        with file.open("rb") as stream:
            content = _bounded(str(file), stream.read(MAX_BYTES + 1))
    except OSError as error:
        raise CommandFailed(f"{file} cannot be read: {error.strerror}") from error
    folder = file.absolute().parent
    if file.suffix == ".py":
        for definition in _python_definitions(file):
            yield Document(f"{file}: {definition['workflow']}", json.dumps(definition).encode(), "json", folder, True)
    else:
        yield Document(str(file), content, FORMATS[file.suffix], folder)


def _python_definitions(file: Path) -> list[dict[str, object]]:
    from orrery.loading import load_definitions

    try:
        return load_definitions(file)
    except InvalidWorkflow as error:
        raise CommandFailed(f"{file}: {error}") from error


def _bounded(label: str, content: bytes) -> bytes:
    if len(content) > MAX_BYTES:
        raise CommandFailed(f"{label} is larger than {MAX_BYTES} bytes")
    if not content.strip():
        raise CommandFailed(f"{label} is empty")
    return content
