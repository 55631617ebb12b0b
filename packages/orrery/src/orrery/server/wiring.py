"""From an open process to what each service takes: the only place that knows the container and the services."""

from importlib.metadata import version

from scheduler_api.dependencies import ApiServices
from scheduler_application.masking import Masking
from scheduler_dispatcher.health import DispatcherHealth
from scheduler_dispatcher.loops import Dispatcher, DispatcherLimits
from scheduler_infrastructure.bootstrap.containers import Application
from scheduler_infrastructure.bootstrap.lifecycle import hidden_values, readiness
from scheduler_infrastructure.bootstrap.settings import Settings
from scheduler_worker.agent import Worker, WorkerLimits
from scheduler_worker.health import WorkerHealth


def api_services(process: Application) -> ApiServices:
    adapters = process.adapters
    own_port = process.settings().metrics_port is not None
    return ApiServices(
        use_cases=process.use_cases,
        reader=adapters.reader(),
        live=adapters.live(),
        readiness=readiness(process),
        metrics_text=None if own_port else adapters.metrics().text,
    )


def worker(process: Application) -> Worker:
    settings: Settings = process.settings()
    use_cases, adapters = process.use_cases, process.adapters
    return Worker(
        name=settings.worker_name,
        version=version("scheduler-worker"),
        queues=settings.worker_queues,
        slots=settings.worker_slots,
        work_root=settings.data_dir / "work",
        code_path=settings.code_path,
        secrets=settings.secrets,
        masking=Masking(hidden_values(settings)),
        limits=WorkerLimits(
            heartbeat=settings.heartbeat_seconds,
            self_fence=settings.self_fence_seconds,
            task_grace=settings.task_grace_seconds,
            shutdown_grace=settings.shutdown_grace_seconds,
            log_bytes=settings.log_limit_bytes,
        ),
        executors=adapters.executors(),
        register=use_cases.register_worker(),
        heartbeat=use_cases.heartbeat(),
        leave=use_cases.leave_worker(),
        claim=use_cases.claim_tasks(),
        record=use_cases.record_outcomes(),
        announcer=use_cases.announcer(),
        source=adapters.source(),
        publisher=adapters.publisher(),
        signals=adapters.signals(),
        logs=adapters.logs(),
        tracer=adapters.tracer(),
        clock=adapters.clock(),
        ids=adapters.ids(),
        randomness=adapters.randomness(),
        health=WorkerHealth(adapters.clock()),
    )


def dispatcher(process: Application) -> Dispatcher:
    settings: Settings = process.settings()
    use_cases, adapters = process.use_cases, process.adapters
    return Dispatcher(
        campaign=use_cases.campaign(),
        fire=use_cases.fire_due_schedules(),
        wake=use_cases.wake_due_tasks(),
        deadlines=use_cases.enforce_run_deadlines(),
        backfills=use_cases.advance_backfills(),
        judge=use_cases.judge_deadlines(),
        next_due=use_cases.next_due(),
        relay=use_cases.relay_hints(),
        recover=use_cases.recover_lost_workers(),
        calendars=use_cases.refresh_due_calendars(),
        prune=use_cases.prune_finished(),
        watchdog=use_cases.watchdog(),
        signals=adapters.signals(),
        clock=adapters.clock(),
        randomness=adapters.randomness(),
        health=DispatcherHealth(adapters.clock()),
        limits=DispatcherLimits(renew=settings.leader_renew_seconds),
    )
