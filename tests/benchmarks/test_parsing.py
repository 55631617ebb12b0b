"""What the benchmarks read of others' output."""

from benchmarks.broker import Messages, parse_counters
from benchmarks.exposition import growth, samples
from benchmarks.functions import by_function, parse_stacks

COUNTERS = """
#{[{protocol,amqp091}] =>
      #{consumers => 42,messages_confirmed_total => 19,
        messages_received_confirm_total => 20,
        messages_received_total => 23,publishers => -195},
  [{protocol,amqp091},{queue_type,rabbit_classic_queue}] =>
      #{messages_acknowledged_total => 1,messages_delivered_total => 4,
        messages_delivered_consume_auto_ack_total => 100},
  [{protocol,amqp091},{queue_type,rabbit_quorum_queue}] =>
      #{messages_acknowledged_total => 16,messages_delivered_total => 17}}
"""

METRICS = """
# HELP orrery_batch_size Items of a group commit.
# TYPE orrery_batch_size histogram
orrery_batch_size_bucket{batch="claim",le="1.0"} 3.0
orrery_batch_size_count{batch="claim"} 4.0
orrery_batch_size_sum{batch="claim"} 60.0
orrery_batch_size_count{batch="record"} 1.0
orrery_leader 1.0
orrery_hints_published_total{result="ok"} 1e+03
"""


def test_the_broker_s_counters_are_summed_over_kinds_of_queues() -> None:
    assert parse_counters(COUNTERS) == Messages(published=20, delivered=21, acknowledged=17)


def test_what_the_broker_counted_between_two_moments() -> None:
    assert Messages(20, 21, 17).since(Messages(5, 1, 17)) == Messages(15, 20, 0)


def test_figures_of_processes_are_summed_by_label() -> None:
    labels = {"orrery_batch_size_count": "batch", "orrery_hints_published_total": "result", "orrery_leader": "none"}
    assert samples([METRICS, METRICS], labels) == {
        ("orrery_batch_size_count", "claim"): 8.0,
        ("orrery_batch_size_count", "record"): 2.0,
        ("orrery_hints_published_total", "ok"): 2000.0,
        ("orrery_leader", ""): 2.0,
    }


def test_what_appeared_meanwhile_has_grown_from_nothing() -> None:
    assert growth({("a", ""): 1.0}, {("a", ""): 4.0, ("b", ""): 2.0}) == {("a", ""): 3.0, ("b", ""): 2.0}


def test_a_function_has_its_own_time_and_that_of_what_it_called() -> None:
    stacks = parse_stacks("main;run;parse 30\nmain;run 10\nmain;run;run 5\n")
    own, whole = by_function(stacks)
    assert own == {"parse": 30, "run": 15}
    assert whole == {"main": 45, "run": 45, "parse": 30}


def test_names_of_functions_may_have_spaces() -> None:
    assert parse_stacks("a.py:1 main;b.py:2 f.<locals>.g 7\n") == [(["a.py:1 main", "b.py:2 f.<locals>.g"], 7)]
