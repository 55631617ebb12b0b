"""The two state machines: complete, and absorbing at their ends."""

from collections.abc import Mapping
from typing import Any

import pytest

from scheduler_domain.run.states import (
    FINAL_RUN_STATES,
    FINAL_TASK_STATES,
    LIVE_RUN_STATES,
    LIVE_TASK_STATES,
    RUN_TRANSITIONS,
    TASK_TRANSITIONS,
    IllegalTransition,
    RunEvent,
    RunState,
    TaskEvent,
    TaskState,
    advance_run,
    advance_task,
    run_sources,
    task_sources,
)

Table = Mapping[Any, Mapping[Any, Any]]

MACHINES: dict[str, tuple[Table, Any, Any, frozenset[Any], Any, Any]] = {
    "run": (RUN_TRANSITIONS, RunState, RunEvent, FINAL_RUN_STATES, advance_run, run_sources),
    "task": (TASK_TRANSITIONS, TaskState, TaskEvent, FINAL_TASK_STATES, advance_task, task_sources),
}
FIRST: dict[str, set[Any]] = {
    "run": {RunState.PENDING, RunState.RUNNING},
    "task": {TaskState.BLOCKED, TaskState.READY, TaskState.SUCCEEDED},
}
"""The states in which rows are made: `begin` admits a run at once where there is room, a task without needs is ready
at once, and a rerun carries over what succeeded."""


@pytest.mark.parametrize("machine", MACHINES)
def test_every_state_is_in_the_table_and_every_event_leads_somewhere(machine: str) -> None:
    table, states, events, _, _, sources = MACHINES[machine]
    assert list(table) == list(states)
    assert all(sources(event) for event in events)


@pytest.mark.parametrize("machine", MACHINES)
def test_every_pair_of_state_and_event_is_allowed_or_refused(machine: str) -> None:
    table, states, events, _, advance, sources = MACHINES[machine]
    for state in states:
        for event in events:
            if event in table[state]:
                assert advance(state, event) == table[state][event]
                assert state in sources(event)
            else:
                assert state not in sources(event)
                with pytest.raises(IllegalTransition) as refusal:
                    advance(state, event)
                assert str(refusal.value) == f"a {machine} run cannot {event} from {state}"


@pytest.mark.parametrize("machine", MACHINES)
def test_final_states_absorb_and_all_others_can_end(machine: str) -> None:
    table: Table = MACHINES[machine][0]
    final = MACHINES[machine][3]
    assert {state for state, moves in table.items() if not moves} == final
    for state in table:
        assert _reachable(table, {state}) & final


@pytest.mark.parametrize("machine", MACHINES)
def test_every_state_is_reached_from_those_in_which_rows_are_made(machine: str) -> None:
    table: Table = MACHINES[machine][0]
    assert _reachable(table, FIRST[machine]) == set(table)


def test_live_and_final_states_are_all_states() -> None:
    assert set(RunState) == LIVE_RUN_STATES | FINAL_RUN_STATES
    assert set(TaskState) == LIVE_TASK_STATES | FINAL_TASK_STATES
    assert not LIVE_RUN_STATES & FINAL_RUN_STATES
    assert not LIVE_TASK_STATES & FINAL_TASK_STATES


def test_every_live_state_can_be_cancelled() -> None:
    assert set(task_sources(TaskEvent.CANCEL)) == LIVE_TASK_STATES
    assert set(run_sources(RunEvent.CANCEL)) == LIVE_RUN_STATES - {RunState.CANCELLING}


def _reachable(table: Table, start: set[Any]) -> set[Any]:
    found, open_states = set(start), list(start)
    while open_states:
        fresh = set(table[open_states.pop()].values()) - found
        found |= fresh
        open_states += fresh
    return found
