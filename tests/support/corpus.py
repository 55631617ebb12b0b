"""Open data for tests: the folder that ``ORRERY_CORPUS`` names, and its graphs as workflows."""

import json
import os
import re
from collections import Counter
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

CORPUS = Path(os.environ.get("ORRERY_CORPUS") or Path(__file__).parents[3] / "shared" / "corpus")

needs_corpus = pytest.mark.skipif(not CORPUS.is_dir(), reason=f"no corpus at {CORPUS}; ORRERY_CORPUS names its folder")


def cases(*parts: str) -> list[dict[str, Any]]:
    path = CORPUS.joinpath(*parts)
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


GRAPHS = cases("dags", "graphs.jsonl")


def task_key(name: str) -> str:
    key = re.sub(r"[^A-Za-z0-9_-]", "_", name if re.match(r"[A-Za-z_]", name) else f"t{name}")
    return key if len(key) <= 100 else f"{key[:80]}-{sha256(name.encode()).hexdigest()[:8]}"


def as_document(graph: dict[str, Any]) -> str:
    """The graph as YAML text, by hand, so that a doubled id stays doubled."""
    lines = ["workflow: graph", "tasks:"]
    for task in graph["tasks"]:
        needs = ", ".join(task_key(need) for need in task["depends_on"])
        lines.append(f"  {task_key(task['id'])}: {{needs: [{needs}], shell: 'true'}}")
    return "\n".join(lines)


def names_at_fault(graph: dict[str, Any]) -> set[str]:
    """The ids that stand twice, those that are missing, or those on a cycle."""
    ids = Counter(task["id"] for task in graph["tasks"])
    doubled = {name for name, count in ids.items() if count > 1}
    missing = {need for task in graph["tasks"] for need in task["depends_on"] if need not in ids}
    waits = {task["id"]: set(task["depends_on"]) - missing for task in graph["tasks"]}
    while free := [name for name, needs in waits.items() if not needs & waits.keys()]:
        for name in free:
            del waits[name]
    return {task_key(name) for name in (doubled or missing or waits)}
