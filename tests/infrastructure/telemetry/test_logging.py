import io
import json
import logging
from base64 import b64encode
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import structlog

from scheduler_application.masking import Masking
from scheduler_infrastructure.telemetry.logging import MAX_TEXT, configure_logging
from scheduler_infrastructure.telemetry.tracing import OtlpTracer
from tests.infrastructure.telemetry.otlp_receiver import otlp_receiver

SECRET = "s3cr3t/äöü+value"


class Log:
    """What a process with our logging wrote."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().split("\n")[:-1]]


@pytest.fixture
def log() -> Iterator[Log]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    log = Log()
    configure_logging("info", masking=Masking([SECRET]), stream=log.stream)
    yield log
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def test_our_lines_and_those_of_libraries_carry_the_bound_ids(log: Log) -> None:
    with structlog.contextvars.bound_contextvars(run_id="r1", task_run_id="t1"):
        structlog.get_logger("worker").info("claimed", count=3)
        logging.getLogger("library").warning("retrying %s", "soon")
    logging.getLogger("library").warning("outside")
    ours, theirs, outside = log.lines()
    assert (ours["event"], ours["count"], ours["level"], ours["logger"]) == ("claimed", 3, "info", "worker")
    assert (theirs["event"], theirs["level"]) == ("retrying soon", "warning")
    assert ours["run_id"] == theirs["run_id"] == "r1"
    assert ours["task_run_id"] == theirs["task_run_id"] == "t1"
    assert "run_id" not in outside
    assert ours["at"].endswith("Z")


async def test_a_line_inside_a_span_names_its_trace(log: Log) -> None:
    with otlp_receiver() as receiver:
        tracer = OtlpTracer(receiver.endpoint, "orrery")
        with tracer.span("attempt", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01") as context:
            structlog.get_logger().info("started")
        await tracer.close()
    (line,) = log.lines()
    assert context == f"00-{line['trace_id']}-{line['span_id']}-01"
    assert line["trace_id"] == "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.parametrize(
    "leak",
    [SECRET, b64encode(SECRET.encode()).decode(), quote(SECRET, safe=""), SECRET.encode().hex(), json.dumps(SECRET)],
)
def test_a_secret_is_masked_wherever_it_stands(log: Log, leak: str) -> None:
    try:
        raise ValueError(f"cannot connect with {leak}")
    except ValueError:
        structlog.get_logger().exception(f"in the event {leak}", url=f"x://u:{leak}@h", nested={"a": [{leak: leak}]})
    logging.getLogger("library").warning("argument %r", {"password": leak})
    structlog.get_logger().info("bytes and objects", value=leak.encode(), error=RuntimeError(leak))
    text = log.stream.getvalue()
    assert len(log.lines()) == 3
    assert leak not in text
    assert json.dumps(leak)[1:-1] not in text
    assert "***" in text


def test_a_value_can_neither_forge_a_line_nor_drive_a_terminal(log: Log) -> None:
    structlog.get_logger().info('x\n{"event": "forged"}\r\n', name="\x1b[2J\x9b31m\x00\u2028")
    assert log.stream.getvalue().count("\n") == 1
    (line,) = log.lines()
    assert line["name"] == r"\x1b[2J\x9b31m\x00\u2028"
    assert "\r" not in line["event"]


def test_a_long_value_is_cut_and_says_so(log: Log) -> None:
    structlog.get_logger().info("got", body="x" * (MAX_TEXT * 10))
    (line,) = log.lines()
    assert line["body"].endswith(f"… [truncated, {MAX_TEXT * 10} characters]")
    assert len(line["body"]) < MAX_TEXT + 50


def test_what_is_below_the_level_is_not_written(log: Log) -> None:
    structlog.get_logger().debug("detail")
    logging.getLogger("library").debug("detail")
    assert log.lines() == []


def test_lines_for_people_are_as_safe(log: Log) -> None:
    configure_logging("info", "console", masking=Masking([SECRET]), stream=log.stream)
    structlog.get_logger("worker").info("claimed \x1b[2J", token=SECRET)
    text = log.stream.getvalue()
    assert "claimed" in text
    assert "\x1b" not in text
    assert SECRET not in text
