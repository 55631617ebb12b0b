"""Whether the dispatcher makes progress: plain sentences, none when all is well."""

from collections.abc import Sequence

from scheduler_application.ports.time import Clock

STUCK_SECONDS = 30.0
"""A lead that nobody tried to renew for so long says that the process stands still."""

SILENT_SECONDS = 8.0
"""A store that did not answer a renewal for so long is away."""

IDLE_SECONDS = 30.0
"""A leader's duty that did not succeed for so long does not work, unless the duty says that it comes more seldom."""


class DispatcherHealth:
    """What ``/livez`` and ``/readyz`` ask. Moments are monotonic."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tried_at = clock.monotonic()
        self._answered_at = clock.monotonic()
        self._succeeded: dict[str, float] = {}
        self._patience: dict[str, float] = {}
        self._found: Sequence[str] = ()
        self.leading = False

    def renewing(self) -> None:
        """The lead is asked for."""
        self._tried_at = self._clock.monotonic()

    def answered(self, *, leading: bool) -> None:
        """The store said who leads."""
        self._answered_at = self._clock.monotonic()
        if leading != self.leading:
            self.leading = leading
            self._succeeded.clear()

    def expects(self, step: str, within: float = IDLE_SECONDS) -> None:
        """The leader does ``step`` from now on, and succeeds within so many seconds, again and again."""
        self._patience[step] = within
        self._succeeded.setdefault(step, self._clock.monotonic())

    def succeeded(self, step: str) -> None:
        self._succeeded[step] = self._clock.monotonic()

    def watched(self, problems: Sequence[str]) -> None:
        """What the watchdog found."""
        self._found = problems

    def livez(self) -> list[str]:
        """Why the process should be started again."""
        since = self._clock.monotonic() - self._tried_at
        return [f"the lead was not asked for for {since:.0f} s"] if since > STUCK_SECONDS else []

    def readyz(self) -> list[str]:
        """Why schedules or task runs may be late."""
        now = self._clock.monotonic()
        problems = list(self._found)
        if now - self._answered_at > SILENT_SECONDS:
            problems.append(f"the store has not answered for {now - self._answered_at:.0f} s")
        for step, moment in self._succeeded.items():
            if self.leading and now - moment > self._patience[step]:
                problems.append(f"'{step}' has not succeeded for {now - moment:.0f} s")
        return problems
