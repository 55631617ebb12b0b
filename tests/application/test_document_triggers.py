from typing import Any

import pytest

from scheduler_application.workflow.document import load_definition, parse_document
from scheduler_domain.errors import InvalidDefinition
from scheduler_domain.workflow.definition import TriggerDefinition, TriggerKind


def document(triggers: str, inputs: str = "{}") -> str:
    return f"workflow: w\ninputs: {inputs}\ntriggers:\n{triggers}\ntasks: {{a: {{shell: x}}}}\n"


def triggers_of(triggers: str, inputs: str = "{}") -> tuple[TriggerDefinition, ...]:
    return parse_document(document(triggers, inputs)).definition.triggers


def problems_of(triggers: str, inputs: str = "{}") -> list[tuple[str, tuple[str | int, ...]]]:
    with pytest.raises(InvalidDefinition) as caught:
        parse_document(document(triggers, inputs))
    return [(problem.code, problem.loc[1:]) for problem in caught.value.problems]


def test_each_kind_of_trigger_has_its_expression_and_default_name() -> None:
    found = triggers_of(
        "  - schedule: '30 2 * * MON-FRI'\n    timezone: Europe/Berlin\n    misfire: skip\n"
        "  - every: 1h30m\n"
        "  - at: 2099-01-01T00:00:00+01:00\n"
        "  - manual: {}\n"
    )
    assert [(each.kind, each.expression, each.timezone, each.policy.misfire) for each in found] == [
        (TriggerKind.SCHEDULE, "30 2 * * MON-FRI", "Europe/Berlin", "skip"),
        (TriggerKind.EVERY, "5400", "UTC", "fire_once"),
        (TriggerKind.AT, "2099-01-01T00:00:00+01:00", "UTC", "fire_once"),
        (TriggerKind.MANUAL, "", "UTC", "fire_once"),
    ]
    names = [each.name for each in found]
    assert names[3] == "manual"
    assert [name.rsplit("-", 1)[0] for name in names[:3]] == ["schedule", "every", "at"]


def test_the_default_name_stays_while_expression_and_zone_stay() -> None:
    def name(text: str) -> str:
        return triggers_of(text)[0].name

    berlin = name("  - {schedule: '0 2 * * *', timezone: Europe/Berlin}")
    assert berlin == name("  - {schedule: '0  2 * * *', timezone: Europe/Berlin, misfire: skip}")
    assert berlin != name("  - {schedule: '0 2 * * *'}")
    assert berlin != name("  - {schedule: '0 3 * * *', timezone: Europe/Berlin}")
    assert name("  - {schedule: '0 2 * * *', name: nightly}") == "nightly"


def test_a_trigger_gives_inputs() -> None:
    inputs = "{day: {type: string, format: date}, regions: {type: array, items: {type: string}, default: [eu]}}"
    [trigger] = triggers_of("  - {every: 15m, inputs: {day: '${{ date(run.scheduled_for) }}', regions: [us]}}", inputs)
    assert trigger.inputs["day"].render({"run": {"scheduled_for": "2026-03-29T02:30:00+01:00"}}) == "2026-03-29"
    assert trigger.inputs["regions"].render({}) == ["us"]


@pytest.mark.parametrize(
    ("triggers", "problems"),
    [
        ("  {}", [("array_expected", ())]),
        ("  - daily", [("object_expected", (0,))]),
        ("  - {}", [("missing_key", (0,))]),
        ("  - {timezone: UTC}", [("missing_key", (0,))]),
        ("  - {cron: '* * * * *'}", [("unknown_key", (0, "cron"))]),
        ("  - {every: 5m, manual: {}}", [("exactly_one_of", (0,))]),
        ("  - {webhook: {path: x}}", [("not_available", (0, "webhook"))]),
        ("  - {email: {mailbox: x}}", [("not_available", (0, "email"))]),
        ("  - {github: {repository: x}}", [("not_available", (0, "github"))]),
        ("  - {gitlab: {project: x}}", [("not_available", (0, "gitlab"))]),
        ("  - {run: {workflow: x}}", [("not_available", (0, "run"))]),
        ("  - {every: 5m, overlap: never}", [("invalid_choice", (0, "overlap"))]),
        ("  - {every: 5m, jitter: 2d}", [("duration_out_of_range", (0, "jitter"))]),
        ("  - {every: 5m, jitter: 0s}", [("duration_out_of_range", (0, "jitter"))]),
        ("  - {every: 5m, max_lateness: soon}", [("invalid_duration", (0, "max_lateness"))]),
        ("  - {every: 5m, calendar: {}}", [("exactly_one_of", (0, "calendar"))]),
        ("  - {every: 5m, calendar: {skip: x, only: y}}", [("exactly_one_of", (0, "calendar"))]),
        ("  - {every: 5m, calendar: {skip: x, shift: up}}", [("invalid_choice", (0, "calendar", "shift"))]),
        ("  - {every: 5m, calendar: holidays-de}", [("object_expected", (0, "calendar"))]),
        ("  - {every: 5m, dst: {gap: skip}}", [("unknown_key", (0, "dst"))]),
        ("  - {schedule: '@daily', dst: {}}", [("missing_key", (0, "dst"))]),
        ("  - {schedule: '@daily', dst: {gap: once}}", [("invalid_choice", (0, "dst", "gap"))]),
        ("  - {schedule: '@daily', dst: {repeat: never}}", [("invalid_choice", (0, "dst", "repeat"))]),
        ("  - {schedule: '@daily', shadow: maybe}", [("boolean_expected", (0, "shadow"))]),
        ("  - {at: '2099-01-01T00:00:00Z', timezone: UTC}", [("unknown_key", (0, "timezone"))]),
        ("  - {every: 5m, misfire: maybe}", [("invalid_choice", (0, "misfire"))]),
        ("  - {every: 5m, name: 'A B'}", [("invalid_name", (0, "name"))]),
        ("  - {every: 5}", [("invalid_duration", (0, "every"))]),
        ("  - {every: P1D}", [("invalid_duration", (0, "every"))]),
        ("  - {every: 0s}", [("duration_out_of_range", (0, "every"))]),
        ("  - {every: 367d}", [("duration_out_of_range", (0, "every"))]),
        ("  - {schedule: 5}", [("string_expected", (0, "schedule"))]),
        ("  - {schedule: ''}", [("empty", (0, "schedule"))]),
        (f"  - {{schedule: '{'* ' * 200}'}}", [("too_long", (0, "schedule"))]),
        ("  - {manual: true}", [("object_expected", (0, "manual"))]),
        ("  - {manual: {confirm: yes}}", [("boolean_expected", (0, "manual", "confirm"))]),
        ("  - {manual: {}, inputs: {}}", [("unknown_key", (0, "inputs"))]),
        ("  - manual: {}\n  - manual: {}", [("duplicate_trigger", (1,))]),
        ("  - {every: 60s}\n  - {every: 1m}", [("duplicate_trigger", (1,))]),
        ("  - {every: 5m, inputs: {x: 1}}", [("unknown_input", (0, "inputs", "x"))]),
    ],
)
def test_a_wrong_trigger_is_refused(triggers: str, problems: list[Any]) -> None:
    assert [each for each in problems_of(triggers) if each[0] not in ("invalid_cron", "invalid_interval")] == problems


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("{}", ("missing_input", (0,))),
        ("{n: '5'}", ("integer_expected", (0, "inputs", "n"))),
        ("{n: '${{ secrets.N }}'}", ("invalid_reference", (0, "inputs", "n"))),
        ("{n: '${{ inputs.n }}'}", ("invalid_reference", (0, "inputs", "n"))),
        ("{n: '${{ event.n }}'}", ("not_available", (0, "inputs", "n"))),
    ],
)
def test_what_a_trigger_gives_is_checked(given: str, problem: Any) -> None:
    assert problems_of(f"  - {{every: 5m, inputs: {given}}}", "{n: {type: integer}}") == [problem]


@pytest.mark.parametrize(
    ("trigger", "problem"),
    [
        ("{schedule: '61 * * * *'}", ("invalid_cron", (0, "schedule"))),
        ("{schedule: '0 0 30 2 *'}", ("never_fires", (0, "schedule"))),
        ("{schedule: '0 0 * * *', timezone: Mars/Base}", ("unknown_timezone", (0, "timezone"))),
        ("{at: tomorrow}", ("invalid_instant", (0, "at"))),
    ],
)
def test_a_schedule_that_cannot_work_is_refused_at_its_trigger(trigger: str, problem: Any) -> None:
    assert problems_of(f"  - {trigger}") == [problem]


def test_a_stored_schedule_is_not_judged_again() -> None:
    content = parse_document(document("  - {schedule: '0 0 * * *', name: nightly}")).content
    content["triggers"][0]["timezone"] = "Gone/Zone"
    assert load_definition(content).triggers[0].timezone == "Gone/Zone"
