"""How repeats become one, and what the command offers."""

import argparse
import json

import pytest

from benchmarks.__main__ import MEASURES
from benchmarks.measure import Figures, Measure, median_of, run
from benchmarks.report import columns, last_line, outline, shown_number


def test_a_median_is_taken_of_every_number_at_every_depth() -> None:
    found = [{"rate": rate, "ms": {"p50": rate * 2}, "name": "x"} for rate in (30, 10, 20)]
    assert median_of(found) == {"rate": 20, "ms": {"p50": 40}, "name": "x"}


def test_what_never_differs_stays_as_it_is() -> None:
    found = median_of([{"tasks": 40, "own": True}, {"tasks": 40, "own": True}])
    assert found == {"tasks": 40, "own": True}
    assert isinstance(found["tasks"], int)


def test_what_only_some_runs_found_counts_where_it_is() -> None:
    assert median_of([{"a": 1.0}, {"a": 3.0, "b": 5.0}]) == {"a": 2.0, "b": 5.0}


def test_a_repeated_measure_tells_the_medians_and_every_run() -> None:
    rates = iter((5.0, 1.0, 9.0))

    async def measured(_: argparse.Namespace) -> Figures:
        return {"rate": next(rates)}

    found = run(Measure("m", "", measured), argparse.Namespace(repeat=3))
    assert found == {"rate": 5.0, "repeats": 3, "each": [{"rate": 5.0}, {"rate": 1.0}, {"rate": 9.0}]}


def test_every_measure_has_a_name_of_its_own() -> None:
    assert len({measure.name for measure in MEASURES}) == len(MEASURES)


def test_the_last_line_is_one_line_of_json_with_the_machine() -> None:
    line = last_line("chain", {"seconds": 0.123456, "each": [{"seconds": 1.000049}]}, {"cores": 2})
    assert "\n" not in line
    assert json.loads(line) == {"benchmark": "chain", "seconds": 0.1235, "each": [{"seconds": 1.0}], "cores": 2}


def test_columns_align_texts_left_and_numbers_right() -> None:
    assert columns(("name", "us"), [("a", 1.0), ("long name", 1234.5)]) == (
        "name          us\na              1\nlong name  1,234"
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (0, "0"), (10_000, "10,000"), (0.01234, "0.0123"), (12.34, "12.3"), (123.4, "123"), ("x", "x")],
)
def test_numbers_show_the_digits_that_mean_something(value: object, shown: str) -> None:
    assert shown_number(value) == shown


def test_an_outline_indents_groups_and_leaves_lists_to_the_line_of_json() -> None:
    lines = outline({"rate": 5, "cpu": {"api": 7}, "each": [1]}).splitlines()
    assert [line.split() for line in lines] == [["rate", "5"], ["cpu"], ["api", "7"]]
    assert lines[2].startswith("  api")
