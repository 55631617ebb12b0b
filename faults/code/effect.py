"""What tasks of the load do: tell the effect server, in one request, who they are. Standard library only.

A python task calls `note` or `hold`; a shell task runs this file: ``python3 -S effect.py URL [SECONDS]``.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request

ANSWER_SECONDS = 20.0


class StaleFence(Exception):
    """The effect server has seen a later claim of this task run, and refused."""


def note(url: str) -> dict[str, int]:
    """One effect. The output names the fence under which it was had."""
    _tell(url, "effect")
    return {"fence": int(os.environ["ORRERY_FENCE"])}


def hold(url: str, seconds: float, group: str = "") -> dict[str, int]:
    """Enters, has its effect, stays for ``seconds``, leaves. ``group`` names what may not overlap."""
    _tell(url, "enter", group)
    _tell(url, "effect", group)
    time.sleep(seconds)
    _tell(url, "exit", group)
    return {"fence": int(os.environ["ORRERY_FENCE"])}


def first_holds(url: str, seconds: float) -> dict[str, int]:
    """As `hold` under the first fence; `note` under every other."""
    return hold(url, seconds) if os.environ["ORRERY_FENCE"] == "1" else note(url)


def show(value: str, lines: int) -> dict[str, int]:
    """Prints numbered lines, each with ``value``, which is a secret."""
    for number in range(1, lines + 1):
        sys.stdout.write(f"line {number} of {lines} {value}\n")
    return {"fence": int(os.environ["ORRERY_FENCE"])}


def _tell(url: str, kind: str, group: str = "") -> None:
    key = os.environ["ORRERY_IDEMPOTENCY_KEY"].split("/")
    who = {
        "run_id": os.environ["ORRERY_RUN_ID"],
        "task": os.environ["ORRERY_TASK"],
        "item": int(key[2]) if len(key) > 2 else -1,
        "attempt": int(os.environ["ORRERY_ATTEMPT"]),
        "fence": int(os.environ["ORRERY_FENCE"]),
        "group": group,
    }
    request = urllib.request.Request(f"{url}/{kind}", json.dumps(who).encode(), {"Content-Type": "application/json"})
    try:
        urllib.request.urlopen(request, timeout=ANSWER_SECONDS).close()
    except urllib.error.HTTPError as error:
        raise StaleFence(f"fence {who['fence']} of {who['task']}: {error.code}") from None


def _main() -> None:
    url, *seconds = sys.argv[1:]
    output = hold(url, float(seconds[0])) if seconds else note(url)
    with open(os.environ["ORRERY_OUTPUT"], "w", encoding="utf-8") as file:
        json.dump(output, file)


if __name__ == "__main__":
    _main()
