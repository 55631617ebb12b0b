"""What an outcome means: another try, or an end."""

from datetime import UTC, datetime, timedelta

import pytest

from scheduler_domain.run.outcome import Cancelled, Failed, HandedBack, Outcome, Succeeded, TaskError, TimedOut
from scheduler_domain.run.retry import MAX_WORKER_LOSSES, Verdict, judge, judge_loss, pause_before_next
from scheduler_domain.run.states import IllegalTransition, TaskState
from scheduler_domain.workflow.definition import OnWorkerLoss, RetryPolicy

NOW = datetime(2026, 11, 2, tzinfo=UTC)
FAILED = Failed(TaskError("exit_code", "ended", exit_code=75))
THREE = RetryPolicy(attempts=3, delay=10, jitter=False)


def low(least: float, most: float) -> float:
    del most
    return least


def verdict(
    outcome: Outcome,
    policy: RetryPolicy = THREE,
    *,
    attempt: int = 1,
    stopping: bool = False,
    state: TaskState = TaskState.RUNNING,
) -> Verdict:
    return judge(outcome, policy, attempt=attempt, now=NOW, stopping=stopping, uniform=low, state=state)


def test_success_ends_with_its_output() -> None:
    assert verdict(Succeeded({"a": 1})) == Verdict(TaskState.SUCCEEDED, output={"a": 1})
    assert verdict(Succeeded(1), stopping=True).state is TaskState.SUCCEEDED


def test_a_failure_is_tried_again_while_attempts_are_left() -> None:
    again = verdict(FAILED, attempt=2)
    assert (again.state, again.wake_at, again.repeats) == (TaskState.RETRYING, NOW + timedelta(seconds=20), True)
    last = verdict(FAILED, attempt=3)
    assert (last.state, last.wake_at, last.repeats, last.error) == (TaskState.FAILED, None, False, FAILED.error)


def test_a_failure_that_cannot_be_cured_is_final() -> None:
    assert verdict(Failed(FAILED.error, retryable=False)).state is TaskState.FAILED


@pytest.mark.parametrize("outcome", [FAILED, TimedOut(1), HandedBack(), Cancelled()])
def test_a_stopping_run_gets_no_further_attempt(outcome: Outcome) -> None:
    assert verdict(outcome, stopping=True).state is TaskState.CANCELLED


def test_a_hand_back_is_ready_at_once_whatever_the_attempt() -> None:
    assert verdict(HandedBack(), RetryPolicy(attempts=1), attempt=1).state is TaskState.READY


@pytest.mark.parametrize(
    ("policy", "outcome", "state"),
    [
        (RetryPolicy(3, on_exit_codes=frozenset({75})), FAILED, TaskState.RETRYING),
        (RetryPolicy(3, on_exit_codes=frozenset({1})), FAILED, TaskState.FAILED),
        (RetryPolicy(3, on_exit_codes=frozenset(), on_http_statuses=frozenset()), FAILED, TaskState.FAILED),
        (
            RetryPolicy(3, on_http_statuses=frozenset({503})),
            Failed(TaskError("x", "x", http_status=503)),
            TaskState.RETRYING,
        ),
        (RetryPolicy(3, on_http_statuses=frozenset({503})), Failed(TaskError("x", "x")), TaskState.FAILED),
        (RetryPolicy(3), TimedOut(1), TaskState.RETRYING),
        (RetryPolicy(3, on_timeout=False), TimedOut(1), TaskState.TIMED_OUT),
        (RetryPolicy(1), TimedOut(1), TaskState.TIMED_OUT),
    ],
)
def test_the_policy_names_what_is_tried_again(policy: RetryPolicy, outcome: Outcome, state: TaskState) -> None:
    assert verdict(outcome, policy).state is state


def test_a_timeout_says_how_long_it_was() -> None:
    error = verdict(TimedOut(90.5), RetryPolicy()).error
    assert error == TaskError("timed_out", "ended after its timeout of 90.5 s")


def test_a_waiting_task_run_can_fail_and_retry_but_not_be_handed_back() -> None:
    assert verdict(FAILED, state=TaskState.WAITING).state is TaskState.RETRYING
    with pytest.raises(IllegalTransition):
        verdict(HandedBack(), state=TaskState.WAITING)


@pytest.mark.parametrize("state", [TaskState.SUCCEEDED, TaskState.CANCELLED, TaskState.READY, TaskState.BLOCKED])
def test_what_does_not_run_has_no_outcome_that_retries(state: TaskState) -> None:
    with pytest.raises(IllegalTransition):
        verdict(FAILED, state=state)


@pytest.mark.parametrize("losses", range(1, 6))
def test_losses_start_again_until_they_are_poison(losses: int) -> None:
    found = judge_loss(OnWorkerLoss.RETRY, losses, stopping=False)
    if losses < MAX_WORKER_LOSSES:
        assert (found.state, found.repeats) == (TaskState.READY, True)
    else:
        assert found.error is not None
        assert (found.state, found.error.code) == (TaskState.FAILED, "poison")


def test_a_task_that_must_not_start_twice_fails_with_its_worker() -> None:
    found = judge_loss(OnWorkerLoss.FAIL, 1, stopping=False)
    assert found.error is not None
    assert (found.state, found.error.code) == (TaskState.FAILED, "worker_lost")


@pytest.mark.parametrize("rule", list(OnWorkerLoss))
def test_a_loss_in_a_stopping_run_is_a_cancel(rule: OnWorkerLoss) -> None:
    assert judge_loss(rule, 1, stopping=True).state is TaskState.CANCELLED


def test_pauses_are_bounded_however_many_attempts_there_were() -> None:
    policy = RetryPolicy(attempts=100, delay=1, max_delay=300, jitter=False)
    pauses = [pause_before_next(policy, attempt, low) for attempt in range(1, 2_000)]
    assert pauses[:4] == [1, 2, 4, 8]
    assert max(pauses) == 300


def test_jitter_draws_from_the_upper_half() -> None:
    seen: list[tuple[float, float]] = []

    def watched(least: float, most: float) -> float:
        seen.append((least, most))
        return most

    assert pause_before_next(RetryPolicy(delay=8), 2, watched) == 16
    assert seen == [(8, 16)]
