"""What reaches out, from the settings: the executors of a worker, and the fetching of subscribed calendars."""

from scheduler_infrastructure.bootstrap.settings import Settings
from scheduler_infrastructure.execution.database import DatabaseExecutor
from scheduler_infrastructure.execution.http import ANSWERS, HttpExecutor
from scheduler_infrastructure.execution.outbound.calendar_feed import GuardedFeeds
from scheduler_infrastructure.execution.python import PythonExecutor
from scheduler_infrastructure.execution.registry import ExecutorRegistry
from scheduler_infrastructure.execution.shell import ShellExecutor
from scheduler_infrastructure.execution.supervision.supervisor import Supervisor
from scheduler_infrastructure.resilience.host_breakers import HostBreakers


def make_executors(settings: Settings) -> ExecutorRegistry:
    """Everything that a worker can execute; shell and python tasks share one supervisor."""
    supervisor = Supervisor()
    interpreter = None if settings.task_python is None else str(settings.task_python)
    return ExecutorRegistry(
        [
            ShellExecutor(supervisor),
            PythonExecutor(supervisor, interpreter=interpreter, max_children=settings.worker_slots),
            HttpExecutor(
                allowed_networks=[str(network) for network in settings.http_allowed_networks],
                guard=HostBreakers(ANSWERS),
            ),
            DatabaseExecutor(settings.connections),
        ]
    )


def make_calendar_feeds(settings: Settings) -> GuardedFeeds:
    """Calendars are fetched from where http tasks may reach."""
    return GuardedFeeds(allowed_networks=[str(network) for network in settings.http_allowed_networks])
