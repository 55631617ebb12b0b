"""Connections to servers, from settings. What a process does not use is not even imported: it would cost a start a
second."""

from typing import TYPE_CHECKING

from scheduler_application.ports.time import Randomness
from scheduler_infrastructure.bootstrap.settings import Settings

if TYPE_CHECKING:
    from scheduler_infrastructure.coordination.redis import RedisLiveUpdates
    from scheduler_infrastructure.messaging.rabbitmq import RabbitBroker
    from scheduler_infrastructure.telemetry.tracing import OtlpTracer


def make_broker(settings: Settings, randomness: Randomness) -> "RabbitBroker":
    """RabbitMQ at ``broker_url``; nothing is connected yet."""
    from scheduler_infrastructure.messaging.rabbitmq import RabbitBroker  # noqa: PLC0415 - see the module's docstring

    return RabbitBroker(settings.broker_url or "", randomness)


def make_redis(settings: Settings, randomness: Randomness) -> "RedisLiveUpdates":
    """Redis at ``redis_url``; nothing is connected yet."""
    from scheduler_infrastructure.coordination.redis import RedisLiveUpdates  # noqa: PLC0415 - see above

    return RedisLiveUpdates(settings.redis_url or "", randomness)


def make_otlp_tracer(settings: Settings, service: str) -> "OtlpTracer":
    """Spans to ``otlp_endpoint``."""
    from scheduler_infrastructure.telemetry.tracing import OtlpTracer  # noqa: PLC0415 - see above

    return OtlpTracer(settings.otlp_endpoint or "", service)
