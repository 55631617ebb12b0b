"""A workflow's document: YAML or JSON text → plain data → a checked `WorkflowDefinition`.

Three ways in: `parse_document` for text (problems have lines), `check_content` for plain data, and `load_definition`
for what a version holds, which was checked when it was deployed. The first takes seconds for the largest document, the
others up to half of one: call them off the event loop.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from scheduler_application.workflow import fields
from scheduler_application.workflow.expectations import check_deadlines, read_expectations
from scheduler_application.workflow.fields import Loc, Reading
from scheduler_application.workflow.json_text import json_places, load_json
from scheduler_application.workflow.places import Places
from scheduler_application.workflow.plain_data import check_plain
from scheduler_application.workflow.references import References
from scheduler_application.workflow.tasks import Defaults, read_defaults, read_task
from scheduler_application.workflow.triggers import check_overlaps, check_timetables, read_triggers
from scheduler_application.workflow.yaml_text import read_yaml
from scheduler_domain.errors import InvalidDefinition, Problem
from scheduler_domain.naming import KEY, KEY_RULE, NAME, NAME_RULE
from scheduler_domain.workflow.definition import (
    MAX_TASKS,
    Concurrency,
    OnConflict,
    TaskDefinition,
    WorkflowDefinition,
)
from scheduler_domain.workflow.graph import Ancestry, check_graph, topological_order
from scheduler_domain.workflow.parameters import InputDefinition, define_input

MAX_BYTES = 1024 * 1024
MAX_INPUTS = 200
MAX_DESCRIPTION = 2_000
MAX_LABELS = 20
MAX_RUN_TIMEOUT = 366 * 86_400
MAX_CONCURRENT = 10_000

KEYS = (
    "workflow",
    "description",
    "labels",
    "inputs",
    "triggers",
    "expect",
    "concurrency",
    "timeout",
    "defaults",
    "tasks",
)
INPUT_ROOTS = frozenset({"run", "vars"})
CONCURRENCY_ROOTS = frozenset({"inputs", "run", "vars"})


@dataclass(frozen=True, slots=True)
class Document:
    """``content`` is the document as plain JSON data: what a version stores and `load_definition` takes."""

    definition: WorkflowDefinition
    content: dict[str, Any]


def parse_document(text: str | bytes, *, form: str = "yaml") -> Document:
    """The document in ``text``, whose ``form`` is ``yaml`` or ``json``.

    Raises `InvalidDefinition` with every problem found, each with its line and column.
    """
    decoded = _decoded(text)
    places = Places(decoded)
    content = read_yaml(decoded, places) if form == "yaml" else load_json(decoded)
    reading = Reading()
    try:
        return Document(_checked(reading, content), content)
    except InvalidDefinition as error:
        places = places if form == "yaml" else json_places(decoded, content)
        placed = [places.placed(problem, reading.offsets.get(problem.loc)) for problem in error.problems]
    raise InvalidDefinition(sorted(placed, key=lambda problem: (problem.line or 0, problem.column or 0)))


def check_content(content: Any) -> Document:
    """The document that plain data is; raises `InvalidDefinition` with every problem found."""
    definition = _checked(Reading(), content)
    if len(_canonical(content)) > MAX_BYTES:
        raise InvalidDefinition([_too_large()])
    return Document(definition, content)


def load_definition(content: Mapping[str, Any]) -> WorkflowDefinition:
    """The definition that a version's stored ``content`` holds.

    Names, graph and due times are not checked again: a time zone that has gone since must not make history unreadable.
    """
    reading = Reading()
    definition = _read(reading, content)
    if reading.problems or definition is None:
        raise InvalidDefinition(reading.problems)
    return definition


def digest(content: Any) -> str:
    """SHA-256 (hex) of the content as canonical JSON; the order in which members were written makes no difference."""
    return sha256(_canonical(content)).hexdigest()


def _canonical(content: Any) -> bytes:
    return json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _decoded(text: str | bytes) -> str:
    try:
        data = text.encode() if isinstance(text, str) else text
        if len(data) > MAX_BYTES:
            raise InvalidDefinition([_too_large()])
        return data.decode("utf-8-sig")
    except UnicodeError:
        problem = Problem((), "invalid_unicode", "the text is not UTF-8")
    raise InvalidDefinition([problem])


def _too_large() -> Problem:
    return Problem((), "definition_too_large", f"a definition is at most {MAX_BYTES} bytes (1 MiB)")


def _checked(reading: Reading, content: Any) -> WorkflowDefinition:
    """Everything that can be told from the document alone; raises `InvalidDefinition`."""
    faults = check_plain(content)
    if faults:
        raise InvalidDefinition(faults)
    definition = _read(reading, content)
    if isinstance(content, dict):
        check_timetables(reading)
        if "concurrency" in content:
            check_overlaps(reading)
        check_deadlines(reading)
        _check_names(reading, content)
    if reading.problems or definition is None:
        raise InvalidDefinition(reading.problems)
    return definition


def _check_names(reading: Reading, content: Mapping[str, Any]) -> None:
    """The graph, and the names in expressions."""
    tasks, inputs = content.get("tasks"), content.get("inputs")
    needs = {key: _listed_needs(task) for key, task in tasks.items()} if isinstance(tasks, dict) else {}
    faults = check_graph(needs)
    for fault in faults:
        reading.note(fault.loc, fault.code, fault.message)
    named_tasks = any(reference[0] == "tasks" for use in reading.uses for reference in use.references)
    ancestry = Ancestry(needs, topological_order(needs)) if named_tasks and not faults else None
    References(list(inputs) if isinstance(inputs, dict) else [], needs, ancestry).check(reading, content)


def _listed_needs(task: Any) -> list[str]:
    needs = task.get("needs") if isinstance(task, dict) else None
    return [need for need in needs if isinstance(need, str)] if isinstance(needs, list) else []


def _read(reading: Reading, content: Any) -> WorkflowDefinition | None:
    """The definition, every field checked by itself; its faults are in ``reading``."""
    if not isinstance(content, dict):
        fields.expect(reading, (), "object", content, f"with {', '.join(KEYS)}")
        return None
    written = fields.mapping(reading, content, (), KEYS, required=("workflow", "tasks"))
    defaults = read_defaults(reading, written["defaults"], ("defaults",)) if "defaults" in written else Defaults()
    inputs = _inputs(reading, written["inputs"]) if "inputs" in written else {}
    return WorkflowDefinition(
        name=fields.name(reading, written["workflow"], ("workflow",), NAME, NAME_RULE) if "workflow" in written else "",
        tasks=_tasks(reading, written["tasks"], defaults) if "tasks" in written else {},
        description=_description(reading, written),
        labels=_labels(reading, written["labels"]) if "labels" in written else (),
        inputs={name: definition for name, definition in inputs.items() if definition is not None},
        triggers=read_triggers(reading, written["triggers"], inputs) if "triggers" in written else (),
        concurrency=_concurrency(reading, written["concurrency"]) if "concurrency" in written else None,
        timeout=_timeout(reading, written),
        priority=defaults.priority,
        expect=read_expectations(reading, written["expect"]) if "expect" in written else (),
    )


def _description(reading: Reading, written: Mapping[str, Any]) -> str:
    if "description" not in written:
        return ""
    return fields.text(reading, written["description"], ("description",), most=MAX_DESCRIPTION, empty=True)


def _labels(reading: Reading, value: Any) -> tuple[str, ...]:
    loc: Loc = ("labels",)
    found: list[str] = []
    for place, written in enumerate(fields.sequence(reading, value, loc, "of labels", MAX_LABELS, least=1)):
        label = fields.name(reading, written, (*loc, place), NAME, NAME_RULE)
        if label in found:
            reading.note((*loc, place), "duplicate_item", f"the label '{label}' is there twice")
        found.append(label)
    return tuple(found)


def _timeout(reading: Reading, written: Mapping[str, Any]) -> float | None:
    if "timeout" not in written:
        return None
    return fields.duration(reading, written["timeout"], ("timeout",), 1, MAX_RUN_TIMEOUT)


def _inputs(reading: Reading, value: Any) -> dict[str, InputDefinition | None]:
    """By name; ``None`` where the input is wrong."""
    found: dict[str, InputDefinition | None] = {}
    for name, written in fields.named(reading, value, ("inputs",), KEY, KEY_RULE, MAX_INPUTS).items():
        found[name] = None
        try:
            definition = define_input(name, written)
        except InvalidDefinition as error:
            for problem in error.problems:
                reading.note(problem.loc, problem.code, problem.message)
            continue
        found[name] = definition
        if definition.default is not None and not definition.default.is_constant:
            loc: Loc = ("inputs", name, "default")
            reading.uses.append(fields.Use(loc, definition.default.references, INPUT_ROOTS))
    return found


def _concurrency(reading: Reading, value: Any) -> Concurrency:
    loc: Loc = ("concurrency",)
    written = fields.mapping(reading, value, loc, ("limit", "key", "on_conflict"), required=("limit",))
    limit = fields.integer(reading, written.get("limit", 1), (*loc, "limit"), 1, MAX_CONCURRENT)
    conflict = written.get("on_conflict", OnConflict.QUEUE.value)
    on_conflict = fields.member(reading, conflict, (*loc, "on_conflict"), OnConflict)
    if "key" not in written:
        return Concurrency(limit, None, on_conflict)
    place = (*loc, "key")
    fields.text(reading, written["key"], place, "such as ${{ inputs.region }}", most=1_000)
    return Concurrency(limit, fields.template(reading, written["key"], place, CONCURRENCY_ROOTS), on_conflict)


def _tasks(reading: Reading, value: Any, defaults: Defaults) -> dict[str, TaskDefinition]:
    loc: Loc = ("tasks",)
    if isinstance(value, dict) and not value:
        reading.note(loc, "too_few_items", f"a workflow has 1 to {MAX_TASKS} tasks")
    found: dict[str, TaskDefinition] = {}
    folded: dict[str, str] = {}
    for key, written in fields.named(reading, value, loc, KEY, KEY_RULE, MAX_TASKS).items():
        twin = folded.setdefault(key.lower(), key)
        if twin != key:
            message = f"the tasks '{twin}' and '{key}' differ only in upper and lower case"
            reading.note((*loc, key), "duplicate_task", message)
        task = read_task(reading, key, written, defaults)
        if task is not None:
            found[key] = task
    return found
