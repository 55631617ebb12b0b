import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_domain.errors import InvalidDefinition
from scheduler_domain.workflow.graph import Ancestry, check_graph, topological_order
from tests.support.processor_time import quickest


def test_tasks_come_after_what_they_need_and_otherwise_in_the_order_written() -> None:
    assert topological_order({"d": ["b", "c"], "b": ["a"], "c": ["a"], "a": []}) == ["a", "b", "c", "d"]
    assert topological_order({"z": [], "y": [], "x": []}) == ["z", "y", "x"]


def test_a_cycle_is_shown_as_a_path_in_the_order_of_execution() -> None:
    [problem] = check_graph({"x": [], "a": ["c", "x"], "b": ["a"], "c": ["b"], "after": ["c"]})
    assert problem.code == "cycle"
    assert problem.loc == ("tasks", "a", "needs")
    assert problem.message.endswith("a → b → c → a")


def test_a_task_that_needs_itself_is_a_cycle() -> None:
    [problem] = check_graph({"a": ["a"]})
    assert problem.message.endswith("a → a")


def test_separate_cycles_are_reported_together() -> None:
    problems = check_graph({"a": ["b"], "b": ["a"], "c": ["d", "a"], "d": ["c"]})
    assert [problem.code for problem in problems] == ["cycle", "cycle"]
    assert {problem.message[-9:] for problem in problems} == {"a → b → a", "c → d → c"}


def test_a_long_cycle_is_shown_in_part() -> None:
    size = 5_000
    [problem] = check_graph({f"t{number}": [f"t{(number - 1) % size}"] for number in range(size)})
    assert "t0 → t1 → " in problem.message
    assert "… → t4999 → t0" in problem.message
    assert len(problem.message) < 300


def test_an_unknown_need_names_task_need_and_the_nearest_task() -> None:
    [problem] = check_graph({"extract": [], "load": ["extract", "extrct"]})
    assert problem.code == "unknown_task"
    assert problem.loc == ("tasks", "load", "needs", 1)
    assert problem.message == "task 'load' needs 'extrct', which does not exist; did you mean 'extract'?"


def test_a_doubled_need_is_refused() -> None:
    [problem] = check_graph({"a": [], "b": ["a", "a"]})
    assert (problem.code, problem.loc) == ("duplicate_need", ("tasks", "b", "needs"))


def test_no_order_exists_for_a_wrong_graph() -> None:
    with pytest.raises(InvalidDefinition, match="a → b → a"):
        topological_order({"a": ["b"], "b": ["a"]})


def test_a_large_graph_costs_little_more_than_its_edges() -> None:
    """Beside the least that anything can do with them, as a machine's pace says nothing about the code."""
    needs = {f"t{number}": [f"t{number - step}" for step in (1, 7, 50) if number >= step] for number in range(10_000)}

    def ancestry() -> None:
        found = Ancestry(needs, topological_order(needs))
        assert found.is_before("t0", "t9999")
        assert not found.is_before("t9999", "t0")

    def edges() -> None:
        before: dict[str, int] = {}
        for position, (key, needed) in enumerate(needs.items()):
            before[key] = 1 << position
            for need in needed:
                before[key] |= before[need]

    assert quickest(ancestry) < 50 * quickest(edges)


@given(st.integers(1, 12).flatmap(lambda size: st.lists(st.tuples(st.integers(0, size - 1), st.integers(0, size - 1)))))
def test_a_graph_has_an_order_exactly_when_it_has_no_cycle(edges: list[tuple[int, int]]) -> None:
    needs: dict[str, list[str]] = {str(number): [] for number in range(12)}
    for first, then in set(edges):
        needs[str(then)].append(str(first))
    reach = {key: set(needed) for key, needed in needs.items()}
    for _ in needs:
        reach = {key: found.union(*(reach[each] for each in found)) for key, found in reach.items()}
    if any(key in found for key, found in reach.items()):
        assert check_graph(needs)
        return
    order = topological_order(needs)
    assert sorted(order) == sorted(needs)
    assert all(order.index(need) < order.index(key) for key, needed in needs.items() for need in needed)
    ancestry = Ancestry(needs, order)
    assert all(ancestry.is_before(one, other) == (one in reach[other]) for one in needs for other in needs)
