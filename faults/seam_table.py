"""Every seam there is. A test asserts that each names something that exists and is reached by its story, so that a
renaming in the product breaks a test and not, silently, the suite."""

from faults.seams import COMMIT, At, Lost, Seam

_RUN = "scheduler_application.run."
_SCHEDULE = "scheduler_application.schedule."
_SQL = "scheduler_infrastructure.persistence."
_WORKER = "scheduler_worker."
_RECOVER = "RecoverLostWorkers"
_PUBLISH = (
    "scheduler_infrastructure.memory.messaging:MemoryPublisher.publish,"
    "scheduler_infrastructure.messaging.publishing:RabbitPublisher.publish"
)


def _commit(name: str, process: str, story: str, use_case: str) -> tuple[Seam, Seam]:
    """Both sides of the commit of a use case."""
    target = COMMIT + use_case
    return (
        Seam(f"{name}/before_commit", process, story, target, At.BEFORE),
        Seam(f"{name}/after_commit", process, story, target, At.AFTER),
    )


def _statement(name: str, process: str, story: str, target: str, within: str) -> Seam:
    """After a statement in a transaction of ``within``: what it changed is not committed."""
    return Seam(name, process, story, _SQL + target, At.AFTER, within, Lost.CONNECTION)


_API = (
    _statement("idempotency/after_reserve", "api", "chain", "run_rows:SqlRuns.reserve_keys", "StartRuns"),
    _statement("run.insert/after_runs", "api", "chain", "run_rows:SqlRuns.insert_runs", "StartRuns"),
    *_commit("run.insert", "api", "chain", "StartRuns"),
    Seam("run.insert/after_commit_before_response", "api", "chain", _RUN + "start:StartRun.execute", At.AFTER),
    *_commit("deploy", "api", "chain", "DeployWorkflow"),
    *_commit("stop", "api", "cancel", "StopRuns"),
    _statement("stop/after_cancel_idle", "api", "cancel", "upkeep:SqlUpkeep.cancel_idle", "StopRuns"),
    *_commit("rerun", "api", "rerun", "RerunRun"),
    *_commit("backfill.start", "api", "backfill", "StartBackfill"),
)

_DISPATCHER = (
    *_commit("elect", "dispatcher", "chain", "Campaign"),
    _statement("due/after_select", "dispatcher", "clock", "trigger:SqlTriggers.due", "FireDueSchedules"),
    Seam(
        "misfire/mid_batch",
        "dispatcher",
        "clock",
        _SCHEDULE + "due:DueDecider.decide",
        At.AFTER,
        "FireDueSchedules",
        Lost.CONNECTION,
    ),
    _statement("due/after_insert_run", "dispatcher", "clock", "run_rows:SqlRuns.insert_runs", "FireDueSchedules"),
    _statement("due/after_ledger", "dispatcher", "clock", "trigger:SqlTriggers.record", "FireDueSchedules"),
    *_commit("due", "dispatcher", "clock", "FireDueSchedules"),
    _statement("wake/after_select", "dispatcher", "retry", "upkeep:SqlUpkeep.waking", "WakeDueTasks"),
    *_commit("wake", "dispatcher", "retry", "WakeDueTasks"),
    _statement("backfill/after_lock", "dispatcher", "backfill", "backfill_rows:SqlBackfills.lock", "AdvanceBackfills"),
    *_commit("backfill", "dispatcher", "backfill", "AdvanceBackfills"),
    *_commit("deadlines", "dispatcher", "timeout", "EnforceRunDeadlines"),
    *_commit("judge", "dispatcher", "expect", "JudgeDeadlines"),
    *_commit("relay", "dispatcher", "unhinted", "RelayHints"),
    Seam("relay/after_hint", "dispatcher", "unhinted", _RUN + "relay:RelayHints.execute", At.AFTER),
    _statement("sweep/after_expire_before_requeue", "dispatcher", "lost", "worker:SqlWorkers.expired", _RECOVER),
    _statement("sweep/after_end_attempts", "dispatcher", "lost", "claims:SqlClaims.end_attempts", _RECOVER),
    *_commit("sweep", "dispatcher", "lost", _RECOVER),
)

_EVERYWHERE = (
    Seam("outbox/before_publish", "api", "waiting", _PUBLISH, At.BEFORE),
    Seam("outbox/after_publish_before_mark", "api", "waiting", _PUBLISH, At.AFTER),
    *_commit("outbox.mark", "api", "waiting", "Announcer"),
)

_WORKERS = (
    *_commit("register", "worker", "chain", "RegisterWorker"),
    *_commit("heartbeat", "worker", "chain", "Heartbeat"),
    Seam("msg/after_receive", "worker", "waiting", _WORKER + "intake:Intake._work_off", At.BEFORE),
    _statement("claim/after_update", "worker", "chain", "claims:SqlClaims.claim", "ClaimTasks"),
    *_commit("claim", "worker", "chain", "ClaimTasks"),
    Seam("msg/before_ack", "worker", "waiting", _WORKER + "intake:Intake._put_back", At.AFTER),
    Seam("msg/after_ack", "worker", "waiting", _WORKER + "intake:Intake._work_off", At.AFTER),
    Seam("task/before_spawn", "worker", "chain", _WORKER + "pipeline:Pipeline._perform", At.BEFORE),
    Seam("task/after_spawn", "worker", "chain", _WORKER + "log_writer:AttemptLog.write", At.AFTER),
    Seam("task/after_effect", "worker", "chain", _WORKER + "pipeline:Pipeline._perform", At.AFTER),
    Seam("log/before_chunk", "worker", "chain", _SQL + "logs:SqlLogStore.append", At.BEFORE),
    Seam("log/after_chunk", "worker", "chain", _SQL + "logs:SqlLogStore.append", At.AFTER),
    _statement("result/after_end", "worker", "chain", "claims:SqlClaims.end_attempts", "RecordOutcomes"),
    _statement("result/after_count_down", "worker", "chain", "graph_rows:SqlGraph.count_down", "RecordOutcomes"),
    _statement("result/after_save", "worker", "chain", "run_rows:SqlRuns.save_runs", "RecordOutcomes"),
    _statement("result/after_claim", "worker", "chain", "claims:SqlClaims.claim", "RecordOutcomes"),
    *_commit("result", "worker", "chain", "RecordOutcomes"),
    Seam("result/after_report", "worker", "chain", _RUN + "record:RecordOutcomes.execute", At.AFTER),
    _statement("fan_out/after_insert", "worker", "graph", "run_rows:SqlRuns.insert_task_runs", "RecordOutcomes"),
    _statement("group/after_count", "worker", "graph", "graph_rows:SqlGraph.count_groups", "RecordOutcomes"),
    _statement("child/after_insert", "worker", "graph", "run_rows:SqlRuns.insert_runs", "RecordOutcomes"),
    _statement("slot/after_admit", "worker", "queued", "run_rows:SqlRuns.admit", "RecordOutcomes"),
    Seam("cancel/after_signal", "worker", "cancel", _WORKER + "tenure:Tenure._cancel", At.AFTER),
    *_commit("leave", "worker", "chain", "LeaveWorker"),
)

SEAMS: tuple[Seam, ...] = (*_API, *_DISPATCHER, *_EVERYWHERE, *_WORKERS)
BY_NAME = {seam.name: seam for seam in SEAMS}
