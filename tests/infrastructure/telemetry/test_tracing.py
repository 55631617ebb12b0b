import asyncio
import contextlib
import socket
import time

import pytest

from scheduler_application.ports.observing import Tracer
from scheduler_infrastructure.telemetry.trace_context import parse_traceparent
from scheduler_infrastructure.telemetry.tracing import OtlpTracer
from scheduler_infrastructure.telemetry.untraced import Untraced
from tests.infrastructure.telemetry.otlp_receiver import otlp_receiver

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def test_one_trace_leads_from_the_start_to_the_attempt() -> None:
    with otlp_receiver() as receiver:
        tracer = OtlpTracer(receiver.endpoint, "orrery-worker", version="1.2", instance="w1")
        run = tracer.start_trace("run nightly", CALLER)
        with tracer.span("attempt extract", run, {"orrery.attempt": 1, "orrery.queue": "default"}) as task:
            pass
        await tracer.close()
        spans = receiver.wait_for(2)

    start, attempt = spans["run nightly"], spans["attempt extract"]
    assert start.trace_id.hex() == attempt.trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"
    assert start.parent_span_id.hex() == "b7ad6b7169203331"
    assert attempt.parent_span_id == start.span_id
    assert task == f"00-{attempt.trace_id.hex()}-{attempt.span_id.hex()}-01"
    assert {item.key for item in attempt.attributes} == {"orrery.attempt", "orrery.queue"}
    assert receiver.resource == {"service.name": "orrery-worker", "service.version": "1.2", "service.instance.id": "w1"}


async def test_a_trace_that_a_due_time_starts_has_a_root() -> None:
    with otlp_receiver() as receiver:
        tracer = OtlpTracer(f"{receiver.endpoint}/v1/traces", "orrery-dispatcher")
        context = parse_traceparent(tracer.start_trace("fire"))
        await tracer.close()
        root = receiver.wait_for(1)["fire"]

    assert context is not None
    assert (root.trace_id.hex(), root.span_id.hex()) == (context.trace_id, context.span_id)
    assert root.parent_span_id == b""


async def test_an_error_marks_its_span_without_its_text() -> None:
    with otlp_receiver() as receiver:
        tracer = OtlpTracer(receiver.endpoint, "orrery")
        with contextlib.suppress(ValueError), tracer.span("attempt", None):
            raise ValueError("password=hunter2")
        await tracer.close()
        span = receiver.wait_for(1)["attempt"]

    assert span.status.message == "ValueError"
    assert b"hunter2" not in span.SerializeToString()


async def test_a_cancelled_block_is_marked_and_stays_cancelled() -> None:
    with otlp_receiver() as receiver:
        tracer = OtlpTracer(receiver.endpoint, "orrery")
        entered = asyncio.Event()

        async def attempt() -> None:
            with tracer.span("attempt", None):
                entered.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(attempt())
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await tracer.close()
        assert receiver.wait_for(1)["attempt"].status.message == "CancelledError"


async def test_a_burst_of_spans_loses_none() -> None:
    with otlp_receiver() as receiver:
        tracer = OtlpTracer(receiver.endpoint, "orrery")
        for number in range(5_000):
            with tracer.span(f"attempt {number}", CALLER):
                pass
        await tracer.close()
        assert len(receiver.wait_for(5_000)) == 5_000


async def test_a_collector_that_is_down_does_not_hold_a_process_that_ends() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        tracer = OtlpTracer(f"http://127.0.0.1:{closed.getsockname()[1]}", "orrery")
        tracer.start_trace("run")
        began = time.monotonic()
        await tracer.close()
        assert time.monotonic() - began < 4


async def test_a_collector_that_never_answers_does_not_hold_a_process_that_ends() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        tracer = OtlpTracer(f"http://127.0.0.1:{silent.getsockname()[1]}", "orrery")
        tracer.start_trace("run")
        began = time.monotonic()
        await tracer.close()
        assert time.monotonic() - began < 4


async def test_while_nobody_collects_contexts_are_handed_on_unchanged() -> None:
    tracer: Tracer = Untraced()
    assert tracer.start_trace("run", CALLER) == CALLER
    with tracer.span("attempt", CALLER) as context:
        assert context == CALLER
    new = tracer.start_trace("run")
    assert parse_traceparent(new) is not None
    assert new != tracer.start_trace("run")


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "00",
        CALLER.upper(),
        CALLER[:-1],
        CALLER + "-extra",
        "ff" + CALLER[2:],
        "00-" + "0" * 32 + "-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-" + "0" * 16 + "-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\nx",
        "0" * 10_000,
    ],
)
def test_a_malformed_context_counts_as_none(text: str | None) -> None:
    assert parse_traceparent(text) is None


@pytest.mark.parametrize(
    ("text", "sampled"),
    [(CALLER, True), (CALLER[:-2] + "00", False), ("cc" + CALLER[2:] + "-what-the-future-will-be-like", True)],
)
def test_a_well_formed_context_is_read(text: str, *, sampled: bool) -> None:
    context = parse_traceparent(text)
    assert context is not None
    assert context.trace_id == "0af7651916cd43dd8448eb211c80319c"
    assert context.span_id == "b7ad6b7169203331"
    assert context.sampled is sampled
