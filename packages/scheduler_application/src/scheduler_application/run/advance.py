"""What a result sets free, in the transaction that records it.

Level by level and for all open runs at once: successors lose a need (`successors`), those without one take their turn
(`turns`), runs without an open task end (`endings`). It costs what was set free, never the size of the graph.
"""

from scheduler_application.run.endings import end_runs
from scheduler_application.run.open_runs import OpenRuns
from scheduler_application.run.progress import Progress
from scheduler_application.run.successors import count_down
from scheduler_application.run.turns import take_turns


async def advance(runs: OpenRuns) -> Progress:
    """Works off everything about the open runs and writes their figures."""
    while True:
        while await runs.stop_unreadable() or runs.settled or runs.unblocked:
            if runs.settled:
                await count_down(runs)
            if runs.unblocked:
                await take_turns(runs)
        ended = runs.finished()
        if not ended:
            break
        await end_runs(runs, ended)
    await runs.save()
    return runs.progress
