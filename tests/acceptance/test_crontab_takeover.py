"""A crontab is taken over: its commands run as under cron, and its shadow tells where cron's log differs."""

import json
from datetime import datetime, timedelta
from typing import Any

from tests.support.eventually import eventually
from tests.support.stack import Stack

CRONTAB = """\
PATH=/usr/bin:/bin
GREETING='hello from'
* * * * * read who; echo "$GREETING $who on $PATH"; false; echo '${{ done }}'%cron%not read
"""
ZONE = ("--timezone", "UTC")


async def test_a_crontab_runs_and_its_shadow_agrees_with_crons_log(embedded: Stack) -> None:
    node = embedded.start("up")
    await node.ready()
    (embedded.folder / "crontab").write_text(CRONTAB)
    (embedded.folder / "shadowed").write_text("* * * * * /srv/only-cron-runs-this\n")
    live = embedded.cli("import", "crontab", "crontab", *ZONE, "--deploy")
    shadow = embedded.cli("import", "crontab", "shadowed", "--user", "ada", *ZONE, "--deploy", "--shadow")
    assert (live.returncode, shadow.returncode) == (0, 0), live.stderr + shadow.stderr

    runs: list[dict[str, str]] = []
    rows: list[dict[str, str]] = []

    async def both_were_due() -> bool:
        runs[:] = json.loads(embedded.cli("runs", "--state", "succeeded", "--json").stdout)["items"]
        async with embedded.client() as client:
            answer = await client.get("/ledger")
        rows[:] = [row for row in answer.json()["items"] if row["rule"] == "shadow"]
        return bool(runs and rows)

    await eventually(both_were_due, within=90)
    printed = embedded.cli("logs", runs[0]["id"]).stdout
    assert "hello from cron on /usr/bin:/bin" in printed
    assert "${{ done }}" in printed

    due = datetime.fromisoformat(rows[-1]["due_at"])
    edges = [(due + timedelta(minutes=minutes), "cron[1]: (CRON) INFO (x)") for minutes in (-1, 1)]

    def compared(start: str) -> tuple[int, dict[str, Any]]:
        lines = sorted([*edges, (due + timedelta(seconds=1), start)])
        text = "".join(f"{instant.isoformat()} web1 {message}\n" for instant, message in lines)
        (embedded.folder / "syslog").write_text(text)
        finished = embedded.cli("import", "compare", "--syslog", "syslog", *ZONE, "--json")
        return finished.returncode, json.loads(finished.stdout)

    code, comparison = compared("CRON[7]: (ada) CMD (/srv/only-cron-runs-this)")
    (schedule,) = comparison["schedules"]
    assert (code, [match["due"] for match in schedule["matched"]]) == (0, [due.isoformat()])
    code, comparison = compared("CRON[7]: (ada) CMD (/srv/something-else)")
    (schedule,) = comparison["schedules"]
    assert (code, schedule["predicted_only"]) == (1, [due.isoformat()])
