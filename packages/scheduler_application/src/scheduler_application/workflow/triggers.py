"""The triggers of a document → `TriggerDefinition`."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from scheduler_application.workflow import fields
from scheduler_application.workflow.fields import Loc, Reading
from scheduler_application.workflow.fire_policies import read_fire_policy
from scheduler_domain.errors import InvalidDefinition, Problem
from scheduler_domain.naming import KEY, KEY_RULE, NAME, NAME_RULE, nearest, shown
from scheduler_domain.schedule.timetable import parse_timetable
from scheduler_domain.workflow.definition import TriggerDefinition, TriggerKind
from scheduler_domain.workflow.expressions import Template
from scheduler_domain.workflow.parameter_schema import check_value
from scheduler_domain.workflow.parameters import InputDefinition

MAX_TRIGGERS = 100
MAX_EXPRESSION = 256
MAX_INTERVAL = 366 * 86_400
LATER_KINDS = ("webhook", "email", "github", "gitlab", "run")
ROOTS = frozenset({"run", "vars"})

Inputs = Mapping[str, InputDefinition | None]
"""By name; ``None`` is an input that is itself wrong, about which nothing more is said."""

_KINDS = tuple(kind.value for kind in TriggerKind)
_POLICIES = ("misfire", "overlap", "max_lateness", "jitter")
KEYS: Mapping[TriggerKind, tuple[str, ...]] = {
    TriggerKind.SCHEDULE: ("name", "timezone", *_POLICIES, "dst", "calendar", "shadow", "inputs"),
    TriggerKind.EVERY: ("name", "timezone", *_POLICIES, "calendar", "shadow", "inputs"),
    TriggerKind.AT: ("name", *_POLICIES, "shadow", "inputs"),
    TriggerKind.MANUAL: ("name",),
}


def read_triggers(reading: Reading, value: Any, inputs: Inputs) -> tuple[TriggerDefinition, ...]:
    loc: Loc = ("triggers",)
    listed = fields.sequence(reading, value, loc, "of triggers", MAX_TRIGGERS)
    found: dict[str, TriggerDefinition] = {}
    for place, written in enumerate(listed):
        trigger = _read_trigger(reading, written, (*loc, place), inputs)
        if trigger is None:
            continue
        if trigger.name in found:
            message = f"two triggers are named '{trigger.name}'; give one of them another 'name'"
            reading.note((*loc, place), "duplicate_trigger", message)
        found[trigger.name] = trigger
    return tuple(found.values())


def _read_trigger(reading: Reading, value: Any, loc: Loc, inputs: Inputs) -> TriggerDefinition | None:
    kind = _kind(reading, value, loc)
    if kind is None:
        return None
    accepted = (kind.value, *KEYS[kind])
    written = fields.mapping(reading, value, loc, accepted)
    timezone = _text(reading, written, "timezone", loc, "such as Europe/Berlin", "UTC")
    expression = _expression(reading, kind, written[kind.value], (*loc, kind.value))
    name = default_name(kind, expression, timezone)
    if "name" in written:
        name = fields.name(reading, written["name"], (*loc, "name"), NAME, NAME_RULE)
    given = written.get("inputs", {})
    trigger = TriggerDefinition(
        name=name,
        kind=kind,
        expression=expression,
        timezone=timezone,
        policy=read_fire_policy(reading, written, loc),
        inputs={} if kind is TriggerKind.MANUAL else _inputs(reading, given, (*loc, "inputs"), inputs),
        confirm=kind is TriggerKind.MANUAL and _confirm(reading, written[kind.value], (*loc, kind.value)),
    )
    if expression:
        reading.scheduled.append((loc, trigger))
    return trigger


def _kind(reading: Reading, value: Any, loc: Loc) -> TriggerKind | None:
    accepted = ", ".join(_KINDS)
    if not isinstance(value, dict):
        fields.expect(reading, loc, "object", value, f"with one of {accepted}")
        return None
    found = [key for key in value if key in _KINDS]
    if len(found) == 1:
        return TriggerKind(found[0])
    if found:
        reading.note(loc, "exactly_one_of", f"a trigger has exactly one of {accepted}, not {' and '.join(found)}")
        return None
    for key in value:
        if key in LATER_KINDS:
            reading.note((*loc, key), "not_available", f"'{key}' is not available yet (accepted: {accepted})")
            return None
    unknown = next((key for key in value if key not in KEYS[TriggerKind.SCHEDULE]), None)
    if unknown is None:
        reading.note(loc, "missing_key", f"the trigger does not say what starts it (accepted: {accepted})")
    else:
        message = f"unknown trigger '{shown(unknown)}'{nearest(unknown, _KINDS)} (accepted: {accepted})"
        reading.note((*loc, unknown), "unknown_key", message)
    return None


def _text(reading: Reading, written: Mapping[str, Any], key: str, loc: Loc, example: str, otherwise: str) -> str:
    if key not in written:
        return otherwise
    return fields.text(reading, written[key], (*loc, key), example, most=MAX_EXPRESSION)


def _expression(reading: Reading, kind: TriggerKind, value: Any, loc: Loc) -> str:
    """The cron text, the interval in seconds as text, the instant, or nothing."""
    if kind is TriggerKind.MANUAL:
        return ""
    if kind is TriggerKind.SCHEDULE:
        return fields.text(reading, value, loc, 'such as "30 2 * * MON-FRI" or "@daily"', most=MAX_EXPRESSION).strip()
    if kind is TriggerKind.AT:
        return fields.text(reading, value, loc, "such as 2027-01-01T00:00:00+01:00", most=MAX_EXPRESSION).strip()
    return str(int(fields.duration(reading, value, loc, 1, MAX_INTERVAL)))


def default_name(kind: TriggerKind, expression: str, timezone: str) -> str:
    """A name that stays over deploys as long as what the trigger fires on stays."""
    if kind is TriggerKind.MANUAL:
        return kind.value
    identity = f"{' '.join(expression.split())}\n{timezone}"
    return f"{kind.value}-{sha256(identity.encode(errors='replace')).hexdigest()[:8]}"


def _confirm(reading: Reading, value: Any, loc: Loc) -> bool:
    written = fields.mapping(reading, value, loc, ("confirm",))
    return fields.boolean(reading, written.get("confirm", False), (*loc, "confirm"))


def _inputs(reading: Reading, value: Any, loc: Loc, inputs: Inputs) -> dict[str, Template]:
    """What the trigger gives, checked against the inputs; one that is required and not given could never run."""
    given = fields.named(reading, value, loc, KEY, KEY_RULE, len(inputs) + MAX_TRIGGERS)
    found: dict[str, Template] = {}
    for name, written in given.items():
        place = (*loc, name)
        if name not in inputs:
            reading.note(place, "unknown_input", f"there is no input '{shown(name)}'{nearest(name, inputs)}")
            continue
        definition = inputs[name]
        found[name] = fields.template(reading, written, place, ROOTS)
        if found[name].is_constant and definition is not None:
            problems: list[Problem] = []
            check_value({"type": definition.type, **definition.schema}, found[name].render({}), place, problems)
            for problem in problems:
                reading.note(problem.loc, problem.code, problem.message)
    missing = [name for name, each in inputs.items() if each is not None and each.required and name not in given]
    for name in missing:
        reading.note(loc[:-1], "missing_input", f"input '{name}' has no default, so the trigger gives it in 'inputs'")
    return found


def check_timetables(reading: Reading) -> None:
    """Notes every rule of due times that is wrong or can never fire, at its trigger."""
    for loc, trigger in reading.scheduled:
        try:
            parse_timetable(trigger.kind.value, trigger.expression, trigger.timezone)
        except InvalidDefinition as error:
            for problem in error.problems:
                key = "timezone" if problem.code == "unknown_timezone" else trigger.kind.value
                reading.note((*loc, key), problem.code, problem.message)


def check_overlaps(reading: Reading) -> None:
    """Notes triggers whose runs would wait for two things at once: their turn, and their workflow's concurrency."""
    for loc, trigger in reading.scheduled:
        if trigger.policy.overlap.in_turn:
            message = (
                f"'{trigger.policy.overlap}' cannot be combined with the workflow's 'concurrency', whose 'on_conflict' "
                "decides about all of its runs (accepted with it: allow, skip)"
            )
            reading.note((*loc, "overlap"), "overlap_conflict", message)
