"""What a worker is made of. Its life is in `tenure`."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scheduler_application.masking import Masking
from scheduler_application.pausing import Sleep
from scheduler_application.ports.logs import LogStore
from scheduler_application.ports.messaging import HintPublisher, HintSource, Signals
from scheduler_application.ports.observing import Tracer
from scheduler_application.ports.time import Clock, Ids, Randomness
from scheduler_application.run.announce import Announcer
from scheduler_application.run.claim import ClaimTasks
from scheduler_application.run.record import RecordOutcomes
from scheduler_application.worker.membership import Heartbeat, LeaveWorker, RegisterWorker
from scheduler_worker.health import WorkerHealth
from scheduler_worker.pipeline import Executors


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerLimits:
    """Durations in seconds. See `Settings` for what each means."""

    heartbeat: float = 3.0
    self_fence: float = 12.0
    task_grace: float = 10.0
    shutdown_grace: float = 25.0
    log_bytes: int = 10 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """Everything that a worker is made of."""

    name: str
    version: str
    queues: Sequence[str]
    slots: int
    work_root: Path
    code_path: Path | None
    secrets: Mapping[str, str]
    masking: Masking
    limits: WorkerLimits
    executors: Executors
    register: RegisterWorker
    heartbeat: Heartbeat
    leave: LeaveWorker
    claim: ClaimTasks
    record: RecordOutcomes
    announcer: Announcer
    source: HintSource
    publisher: HintPublisher
    signals: Signals
    logs: LogStore
    tracer: Tracer
    clock: Clock
    ids: Ids
    randomness: Randomness
    health: WorkerHealth
    sleep: Sleep = asyncio.sleep
