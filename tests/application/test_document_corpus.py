import math
import re
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from scheduler_application.workflow.document import parse_document
from scheduler_application.workflow.yaml_text import load_yaml
from scheduler_domain.errors import InvalidDefinition
from scheduler_domain.workflow.graph import topological_order
from tests.support.corpus import GRAPHS, as_document, cases, names_at_fault, needs_corpus

Report = Callable[[str, str], None]

pytestmark = needs_corpus


@pytest.fixture
def report(capsys: pytest.CaptureFixture[str], record_property: Callable[[str, object], None]) -> Report:
    def tell(what: str, summary: str) -> None:
        record_property(what, summary)
        with capsys.disabled():
            print(f"\n{what}: {summary}")

    return tell


def same(left: Any, right: Any) -> bool:
    """Equality that tells booleans from numbers and takes an integral float for its integer, as JSON does."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, float) and isinstance(right, float):
        return math.isclose(left, right)
    return bool(left == right)


def loaded(text: str) -> tuple[bool, Any]:
    started = time.process_time()
    try:
        return True, load_yaml(text)
    except InvalidDefinition as error:
        return False, error.problems[0]
    finally:
        assert time.process_time() - started < 1


@pytest.mark.parametrize("case", cases("yaml-torture", "suite.jsonl"), ids=lambda case: str(case["case"]))
def test_the_yaml_suite_is_read_right_or_refused(case: dict[str, Any]) -> None:
    accepted, value = loaded(case["yaml"])
    if case["expect"] == "reject":
        assert not accepted, value
    elif accepted and "documents" in case:
        assert len(case["documents"]) <= 1
        assert same(value, case["documents"][0] if case["documents"] else None)


@pytest.mark.parametrize("case", cases("yaml-torture", "pipeline_traps.jsonl"), ids=lambda case: str(case["id"]))
def test_the_traps_are_read_right_or_refused(case: dict[str, Any]) -> None:
    accepted, value = loaded(case["yaml"])
    assert accepted == (case["expect"] == "accept"), value
    if accepted:
        assert same(value, case["value"])


def test_refused_documents_of_the_suite_are_few_and_each_uses_what_is_not_allowed(
    report: Report,
) -> None:
    reasons: Counter[str] = Counter()
    suite = cases("yaml-torture", "suite.jsonl")
    wanted = [case for case in suite if case["expect"] == "accept"]
    for case in wanted:
        accepted, problem = loaded(case["yaml"])
        reasons["accepted" if accepted else re.sub(r"\(.*", "", problem.message)] += 1
    report("YAML suite", f"{dict(reasons)} of {len(wanted)} valid documents")
    assert reasons["accepted"] >= 32


@pytest.mark.parametrize("graph", GRAPHS, ids=lambda graph: str(graph["name"]))
def test_a_valid_graph_loads_and_an_invalid_one_is_refused_by_name(graph: dict[str, Any]) -> None:
    # A graph that its source refuses for its own reasons (Kestra: tasks in turn in "Parallel") is a good one here.
    if graph["valid"] or not names_at_fault(graph):
        definition = parse_document(as_document(graph)).definition
        needs = {key: task.needs for key, task in definition.tasks.items()}
        assert len(needs) == graph["stats"]["tasks"]
        assert sum(map(len, needs.values())) == graph["stats"]["edges"]
        order = {key: place for place, key in enumerate(topological_order(needs))}
        assert all(order[need] < order[key] for key, each in needs.items() for need in each)
        return
    with pytest.raises(InvalidDefinition) as caught:
        parse_document(as_document(graph))
    told = " ".join(problem.message for problem in caught.value.problems)
    assert any(name in told for name in names_at_fault(graph)), told


def test_the_whole_corpus_of_graphs_is_there(report: Report) -> None:
    refused = [graph["name"] for graph in GRAPHS if names_at_fault(graph)]
    tasks = sum(len(graph["tasks"]) for graph in GRAPHS)
    report("graphs", f"{len(GRAPHS) - len(refused)} load, {len(refused)} are refused, {tasks} tasks in all")
    assert (len(GRAPHS), len(refused)) == (113, 3)
    assert all(graph["valid"] or graph["name"] in (*refused, "kestra-invalid-parallel") for graph in GRAPHS)
