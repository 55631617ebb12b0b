"""One trace from the caller's request, or from the due time, to the task's process; and the figures of each node."""

from functools import partial

from tests.acceptance.conftest import Stacks
from tests.infrastructure.telemetry.otlp_receiver import OtlpReceiver, otlp_receiver
from tests.support.eventually import eventually
from tests.support.stack import SHORT_LEASES, Stack

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = f"00-{TRACE}-b7ad6b7169203331-01"
WORKFLOW = """
workflow: traced
triggers: [{manual: {}}, {every: 1s}]
tasks:
  shell: {shell: 'printf ''"%s"'' "$TRACEPARENT" > "$ORRERY_OUTPUT"'}
"""
PYTHON = """
  python: {needs: [shell], python: {call: "effects:traceparent"}}
"""


async def _start_traced(stack: Stack, definition: str) -> str:
    await stack.deploy(definition)
    async with stack.client() as client:
        answer = await client.post("/workflows/traced/run", json={}, headers={"traceparent": CALLER})
    assert answer.status_code == 202
    return str(answer.json()["run_id"])


async def test_a_trace_leads_from_the_request_to_the_tasks_and_to_the_collector(distributed: Stacks) -> None:
    with otlp_receiver() as receiver:
        stack = distributed(OTLP_ENDPOINT=receiver.endpoint, **SHORT_LEASES)
        (dispatcher,), (worker,) = await stack.start_all()
        assert stack.api is not None
        run = await stack.finished(await _start_traced(stack, WORKFLOW + PYTHON), within=30)
        contexts = {task["task"]: task["output"] for task in run["tasks"]}
        await eventually(partial(_arrived, receiver), within=20)

        spans = {span.span_id.hex(): span for span in list(receiver.spans)}
        mine = [span for span in spans.values() if span.trace_id.hex() == TRACE]
        start = next(span for span in mine if span.name == "run")
        assert start.parent_span_id.hex() == "b7ad6b7169203331"
        for executor, context in contexts.items():
            _, trace_id, span_id, _ = context.split("-")
            assert trace_id == TRACE
            assert spans[span_id].name == f"task {executor}"
            assert spans[span_id].parent_span_id == start.span_id
        fire = next(span for span in spans.values() if span.name == "fire")
        assert fire.parent_span_id == b""
        assert any(span.parent_span_id == fire.span_id for span in spans.values() if span.trace_id == fire.trace_id)

        assert await dispatcher.metric("orrery_leader") == 1
        assert await dispatcher.metric('orrery_fires_total{outcome="fired"}') >= 1
        assert await dispatcher.metric("orrery_fire_lateness_seconds_count") >= 1
        assert await worker.metric('orrery_queue_wait_seconds_count{queue="default"}') >= 1
        assert await worker.metric('orrery_attempts_ended_total{executor="shell",outcome="succeeded"}') >= 1
        assert await worker.metric('orrery_runs_ended_total{state="succeeded"}') >= 1
        assert await stack.api.probe("/metrics") == 200


async def test_without_a_collector_the_trace_passes_through(embedded: Stack) -> None:
    node = embedded.start("up", CODE_PATH=None, LOG_LEVEL="debug")
    await node.ready()
    run = await embedded.finished(await _start_traced(embedded, WORKFLOW), within=20)
    (context,) = [task["output"] for task in run["tasks"] if task["task"] == "shell"]
    assert context.split("-")[1] == TRACE
    ended = [line for line in node.lines("an attempt ended") if line["task"] == "shell"]
    assert {"run_id": run["id"], "task_run_id": run["tasks"][0]["id"]}.items() <= ended[0].items()


async def _arrived(receiver: OtlpReceiver) -> bool:
    spans = list(receiver.spans)
    fires = {span.trace_id for span in spans if span.name == "fire"}
    tasks = [span for span in spans if span.name.startswith("task ")]
    traced = [span for span in tasks if span.trace_id.hex() == TRACE]
    return len(traced) == 2 and any(span.trace_id in fires for span in tasks)
