"""The deadlines of a document: what they mean, and what is said about those that are wrong."""

from typing import Any

import pytest

from scheduler_application.workflow.document import load_definition, parse_document
from scheduler_domain.errors import InvalidDefinition
from scheduler_domain.workflow.definition import ExpectationDefinition, ExpectedState


def document(expect: str) -> str:
    return f"workflow: w\nexpect:{expect}\ntasks: {{a: {{shell: x}}}}\n"


def expectations_of(expect: str) -> tuple[ExpectationDefinition, ...]:
    return parse_document(document(expect)).definition.expect


def faults_of(expect: str) -> list[Any]:
    """(code, loc within `expect`, line, column) of every fault."""
    with pytest.raises(InvalidDefinition) as caught:
        parse_document(document(expect))
    assert all(problem.message for problem in caught.value.problems)
    return [(problem.code, problem.loc[1:], problem.line, problem.column) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("written", "expression"),
    [
        ("{by: 06:00}", "0 6 * * *"),
        ('{by: "06:05", days: MON-FRI}', "5 6 * * MON-FRI"),
        ('{by: "23:59:30"}', "30 59 23 * * *"),
        ('{by: "00:00:00", days: "SAT,SUN"}', "0 0 * * SAT,SUN"),
        ('{by: "*/15 8-18 * * MON-FRI"}', "*/15 8-18 * * MON-FRI"),
        ('{by: " @hourly "}', "@hourly"),
    ],
)
def test_a_time_of_day_and_a_cron_expression_say_when_the_deadlines_are(written: str, expression: str) -> None:
    (found,) = expectations_of(f" {written}")
    assert (found.expression, found.timezone, found.state, found.within) == (expression, "UTC", "succeeded", None)


def test_every_key_has_its_effect_and_a_list_has_many() -> None:
    started, ended = expectations_of(
        "\n  - {by: '05:00', state: started, within: 1d12h, timezone: Europe/Berlin, name: early}"
        "\n  - {by: '06:00', state: finished}"
    )
    assert started == ExpectationDefinition("early", "0 5 * * *", "Europe/Berlin", ExpectedState.STARTED, 129_600)
    assert (ended.state, ended.within) == (ExpectedState.FINISHED, None)


def test_the_default_name_stays_while_deadlines_and_state_stay() -> None:
    def name(text: str) -> str:
        return expectations_of(f" {text}")[0].name

    six = name("{by: '06:00', timezone: Europe/Berlin}")
    assert six == name("{by: '06:00', timezone: Europe/Berlin, within: 2h}")
    assert six == name("{by: '0  6 * * *', timezone: Europe/Berlin}")
    assert six.startswith("succeeded-")
    others = [name("{by: '06:00'}"), name("{by: '06:01'}"), name("{by: '06:00', state: started}")]
    assert len({six, *others}) == 4


@pytest.mark.parametrize(
    ("expect", "fault"),
    [
        (" 06:00", ("array_expected", (), 2, 9)),
        (" {state: started}", ("missing_key", (), 2, 1)),
        (" {by: 600}", ("string_expected", ("by",), 2, 14)),
        (" {by: ''}", ("empty", ("by",), 2, 14)),
        (" {by: '24:00'}", ("invalid_time", ("by",), 2, 14)),
        (" {by: '6:00'}", ("invalid_time", ("by",), 2, 14)),
        (" {by: '06:60'}", ("invalid_time", ("by",), 2, 14)),
        (" {by: '06:00 MON'}", ("invalid_time", ("by",), 2, 14)),
        (" {by: '06:00 * * *'}", ("invalid_time", ("by",), 2, 14)),
        (" {by: '61 6 * * *'}", ("invalid_cron", ("by",), 2, 14)),
        (" {by: '0 0 30 2 *'}", ("never_fires", ("by",), 2, 14)),
        (f" {{by: '{'* ' * 200}'}}", ("too_long", ("by",), 2, 14)),
        (" {by: '06:00', days: MON FRI}", ("invalid_days", ("days",), 2, 29)),
        (" {by: '06:00', days: MOON}", ("invalid_cron", ("days",), 2, 29)),
        (" {by: '06:00', days: 5}", ("string_expected", ("days",), 2, 29)),
        (" {by: '0 6 * * *', days: MON}", ("without_effect", ("days",), 2, 27)),
        (" {by: '06:00', timezone: Berlin}", ("unknown_timezone", ("timezone",), 2, 33)),
        (" {by: '06:00', timezone: 1}", ("string_expected", ("timezone",), 2, 33)),
        (" {by: '06:00', state: failed}", ("invalid_choice", ("state",), 2, 30)),
        (" {by: '06:00', within: 60}", ("invalid_duration", ("within",), 2, 31)),
        (" {by: '06:00', within: 0s}", ("duration_out_of_range", ("within",), 2, 31)),
        (" {by: '06:00', within: 367d}", ("duration_out_of_range", ("within",), 2, 31)),
        (" {by: '06:00', name: A B}", ("invalid_name", ("name",), 2, 29)),
        (" {by: '06:00', until: '07:00'}", ("unknown_key", ("until",), 2, 23)),
        ("\n  - {by: '06:00'}\n  - {by: '06:00', within: 1h}", ("duplicate_expectation", (1,), 4, 5)),
        ("\n  - {by: '06:00'}\n  - daily", ("object_expected", (1,), 4, 5)),
    ],
)
def test_a_wrong_expectation_is_refused_where_it_is_wrong(expect: str, fault: Any) -> None:
    assert faults_of(expect) == [fault]


def test_more_than_twenty_are_refused() -> None:
    lines = "".join(f"\n  - {{by: '06:{minute:02}'}}" for minute in range(21))
    assert [fault[0] for fault in faults_of(lines)] == ["too_many_items"]


def test_all_faults_are_told_at_once() -> None:
    found = faults_of(" {by: '25:00', days: A B, timezone: 5, state: x, within: soon, name: '?'}")
    assert sorted(fault[0] for fault in found) == [
        "invalid_choice",
        "invalid_duration",
        "invalid_name",
        "invalid_time",
        "string_expected",
    ]


def test_stored_deadlines_are_not_judged_again() -> None:
    content = parse_document(document(" {by: '06:00', name: early}")).content
    content["expect"]["timezone"] = "Gone/Zone"
    assert load_definition(content).expect[0].timezone == "Gone/Zone"
