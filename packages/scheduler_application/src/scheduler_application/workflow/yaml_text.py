"""YAML 1.2 text → plain data (dict, list, str, int, float, bool, None), with the place of every part.

Only the library's scanner and parser are used (its events); values are made here, by the core schema. So nothing is
ever constructed from a tag, no alias is ever followed, and ``on``, ``no``, ``0777`` and dates are what YAML 1.2 says.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    DocumentStartEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceStartEvent,
)

from scheduler_application.workflow.places import Mark, Places
from scheduler_application.workflow.plain_data import MAX_DEPTH, MAX_NODES
from scheduler_domain.errors import MAX_PROBLEMS, InvalidDefinition, Problem
from scheduler_domain.naming import shown

_UNPRINTABLE = re.compile("[^\t\n\r -~\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LONG_TAG = re.compile(r"(?:^|[\s\[{,:])!\S{1000}")
"""The scanner takes time with the square of a tag's length."""
_FIRST_OF_TYPED = frozenset("0123456789+-.~nNtTfF")
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {**dict.fromkeys(("true", "True", "TRUE"), True), **dict.fromkeys(("false", "False", "FALSE"), False)}
_NUMBERS: tuple[tuple[re.Pattern[str], Callable[[str], int | float]], ...] = (
    (re.compile(r"[-+]?[0-9]+"), int),
    (re.compile(r"0o[0-7]+"), lambda text: int(text, 0)),
    (re.compile(r"0x[0-9a-fA-F]+"), lambda text: int(text, 0)),
    (re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"), float),
    (re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"), lambda text: float(text.replace(".", ""))),
)
_LONGEST_NUMBER = 400


def load_yaml(text: str) -> Any:
    """The one document in ``text`` as plain data; raises `InvalidDefinition` (``invalid_yaml``, ``duplicate_key``…)."""
    return read_yaml(text, Places(text))


def read_yaml(text: str, places: Places) -> Any:
    """As `load_yaml`; fills ``places``."""
    text = text.removeprefix("\ufeff")
    if bad := _UNPRINTABLE.search(text):
        message = f"the character U+{ord(bad.group()):04X} is not allowed in a document"
        raise InvalidDefinition([_problem_at(text, bad.start(), "control_character", message)])
    if tag := _LONG_TAG.search(text):
        raise InvalidDefinition([_problem_at(text, tag.start() + 1, "invalid_yaml", "tags are not allowed")])
    builder = _Builder(text, places)
    for event in _events(text):
        builder.take(event)
    if builder.problems:
        raise InvalidDefinition(builder.problems)
    return places.root


def _problem_at(text: str, position: int, code: str, message: str) -> Problem:
    column = position - text.rfind("\n", 0, position)
    return Problem((), code, message, text.count("\n", 0, position) + 1, column)


def _events(text: str) -> Iterator[Any]:
    line, column = 1, 1
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            line, column = event.end_mark.line + 1, event.end_mark.column + 1
            yield event
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = (line, column) if mark is None else (mark.line + 1, mark.column + 1)
        raise InvalidDefinition([Problem((), "invalid_yaml", _syntax_message(error), *place)]) from None
    except Exception:  # noqa: BLE001 - see below
        # Only the library runs in here. It meets some malformed escapes and directives with whatever Python raises
        # (assertions, too), which is no reason to fail on a text that anybody can send.
        raise InvalidDefinition([Problem((), "invalid_yaml", "what follows is not YAML", line, column)]) from None


def _syntax_message(error: MarkedYAMLError) -> str:
    problem = (error.problem or "the text is not YAML").splitlines()[0].replace("('", "").replace("',)", "")
    if "'\\t'" in problem:
        return "a tab cannot indent; use spaces"
    context = f" ({error.context})" if error.context else ""
    return f"{problem}{context}"


class _Builder:
    """Makes values from events, without recursion; goes on after a problem, so that all are told."""

    def __init__(self, text: str, places: Places) -> None:
        self.problems: list[Problem] = []
        self._text = text
        self._places = places
        self._documents = 0
        self._nodes = 0
        self._open: list[tuple[Any, dict[Any, Mark]]] = []
        self._keys: list[Any] = []

    def take(self, event: Any) -> None:
        if isinstance(event, ScalarEvent):
            self._check_node(event)
            self._add(self._scalar(event), event)
        elif isinstance(event, MappingStartEvent | SequenceStartEvent):
            self._check_node(event)
            self._start({} if isinstance(event, MappingStartEvent) else [], event)
        elif isinstance(event, CollectionEndEvent):
            self._open.pop()
            self._keys.pop()
        elif isinstance(event, AliasEvent):
            self._problem("invalid_yaml", f"aliases are not allowed (*{shown(event.anchor)}); repeat the value", event)
            self._add(None, event)
        elif isinstance(event, DocumentStartEvent):
            self._document(event)

    def _document(self, event: DocumentStartEvent) -> None:
        self._documents += 1
        if self._documents > 1:
            self._problem("invalid_yaml", "only one document is allowed in a file", event)
            raise InvalidDefinition(self.problems)
        if event.tags or (event.version and tuple(event.version) != (1, 2)):
            self._problem("invalid_yaml", "directives other than %YAML 1.2 are not allowed", event)

    def _check_node(self, event: Any) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            self._problem("too_many_items", f"the document has more than {MAX_NODES} parts", event)
            raise InvalidDefinition(self.problems)
        if event.anchor is not None:
            self._problem("invalid_yaml", f"anchors are not allowed (&{shown(event.anchor)}); write it out", event)
        if event.tag is not None:
            self._problem("invalid_yaml", f"tags are not allowed ({shown(event.tag)})", event)

    def _start(self, container: Any, event: Any) -> None:
        if len(self._open) >= MAX_DEPTH:
            self._problem("nesting_too_deep", f"the document is nested deeper than {MAX_DEPTH} levels", event)
            raise InvalidDefinition(self.problems)
        self._add(container, event)
        marks: dict[Any, Mark] = {}
        self._places.marks[id(container)] = marks
        self._open.append((container, marks))
        self._keys.append(None)

    def _add(self, value: Any, event: Any) -> None:
        """Puts ``value`` where it belongs: the root, an element, a key, or the value of the key before it."""
        here = (event.start_mark.line, event.start_mark.column)
        if not self._open:
            self._places.root = value
            return
        container, marks = self._open[-1]
        if isinstance(container, list):
            marks[len(container)] = Mark(here, here)
            container.append(value)
        elif self._keys[-1] is None:
            self._keys[-1] = (self._key(value, container, event), here)
        else:
            key, at = self._keys[-1]
            marks[key] = Mark(at, here)
            container[key] = value
            self._keys[-1] = None

    def _key(self, key: Any, container: dict[str, Any], event: Any) -> str:
        if not isinstance(key, str):
            self._problem("invalid_key", "a key is text; put it in quotes", event)
            return repr(type(key))
        if key == "<<":
            self._problem("invalid_yaml", "merge keys (<<) are not allowed; write the values out", event)
        elif key in container:
            self._problem("duplicate_key", f"the key '{shown(key)}' stands here twice", event)
        return key

    def _scalar(self, event: ScalarEvent) -> Any:
        start = event.start_mark.index
        if start and self._text[start - 1] == "?":
            # YAML 1.2 reads "[?x]" as text, the library as a key.
            self._problem("invalid_yaml", "put text that begins with '?' in quotes", event)
        if not event.implicit[0]:
            return event.value
        try:
            return plain_value(event.value)
        except ValueError:
            message = f"{shown(event.value)} is out of range (integers are between -2^53 and 2^53)"
            self._problem("number_out_of_range", message, event)
            return None

    def _problem(self, code: str, message: str, event: Any) -> None:
        mark = event.start_mark
        self.problems.append(Problem((), code, message, mark.line + 1, mark.column + 1))
        if len(self.problems) >= MAX_PROBLEMS:
            raise InvalidDefinition(self.problems)


def plain_value(text: str) -> Any:
    """What an unquoted scalar means in YAML 1.2's core schema; raises `ValueError` for a number beyond JSON's."""
    if text and text[0] not in _FIRST_OF_TYPED:
        return text
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    for pattern, convert in _NUMBERS:
        if pattern.fullmatch(text):
            value = convert(text) if len(text) <= _LONGEST_NUMBER else float("inf")
            if not abs(value) < float("inf") or (isinstance(value, int) and abs(value) > 2**53):
                raise ValueError(text)
            return value
    return text
