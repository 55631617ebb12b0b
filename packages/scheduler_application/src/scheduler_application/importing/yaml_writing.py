"""A definition as YAML for people: block style, scripts as literal blocks, quotes only where they are needed."""

from collections.abc import Iterator, Mapping
from typing import Any

from scheduler_application.workflow.yaml_text import load_yaml
from scheduler_domain.errors import InvalidDefinition

_SHORT_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def write_yaml(content: Mapping[str, Any]) -> str:
    """Text that `load_yaml` reads back as the same data: objects, lists that are not empty, strings, true and false."""
    return "".join(f"{line}\n" for line in _object_lines(content))


def _object_lines(content: Mapping[str, Any]) -> Iterator[str]:
    for key, value in content.items():
        yield from _member(f"{_text(key)}:", value)


def _member(head: str, value: Any) -> Iterator[str]:
    """A key with its value, or the ``-`` of a list with its element."""
    if isinstance(value, Mapping) and value:
        lines = _object_lines(value)
    elif isinstance(value, list) and value:
        lines = (line for element in value for line in _element(element))
    else:
        first, *rest = _scalar(value)
        yield f"{head} {first}"
        yield from (f"  {line}" if line else "" for line in rest)
        return
    yield head
    yield from (f"  {line}" if line else "" for line in lines)


def _element(value: Any) -> Iterator[str]:
    if not isinstance(value, Mapping) or not value:
        yield from _member("-", value)
        return
    first, *rest = _object_lines(value)
    yield f"- {first}"
    yield from (f"  {line}" if line else "" for line in rest)


def _scalar(value: Any) -> list[str]:
    if isinstance(value, str):
        return _block(value) or [_text(value)]
    if isinstance(value, bool):
        return ["true" if value else "false"]
    return ["{}" if isinstance(value, Mapping) else "[]"]


def _block(text: str) -> list[str]:
    """A literal block for several lines of printable text; nothing where that cannot hold ``text``.

    The first line tells a reader the indentation, and blank lines at the end are none of the block's.
    """
    *lines, end = text.split("\n")
    if end or len(lines) < 2 or not all(line.isprintable() for line in lines):
        return []
    return ["|", *lines] if lines[0].lstrip(" ") == lines[0] != "" and lines[-1].strip() else []


def _text(text: str) -> str:
    """One line: as it is where it is read back so, else in single quotes, else in double quotes."""
    if text.isprintable():
        for written in (text, "'" + text.replace("'", "''") + "'"):
            if _reads_as(written, text):
                return written
    return '"' + "".join(_escaped(character) for character in text) + '"'


def _reads_as(written: str, text: str) -> bool:
    try:
        return bool(load_yaml(f"- {written}\n- x: {written}\n") == [text, {"x": text}])
    except InvalidDefinition:
        return False


def _escaped(character: str) -> str:
    if character in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
