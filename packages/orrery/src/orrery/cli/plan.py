"""What a deploy would change: plan."""

from collections.abc import Iterator

from orrery.cli.definitions import PathOrDash, refusal_lines
from orrery.cli.documents import MEDIA_TYPES, read_documents
from orrery.cli.failures import FAILED, OK
from orrery.cli.output import moment
from orrery.cli.session import Flag, Here
from orrery.errors import Invalid
from orrery.models import DefinitionChange, Plan, TriggerPlan

SHOWN = 5
"""How many fire times of each sort are printed for a trigger; the JSON has up to 50, and counts by day."""

_SIGNS = {"added": "+", "removed": "-", "changed": "~"}


async def plan(path: PathOrDash, /, *, json: Flag = False, session: Here) -> int:
    """Shows what deploying would change: the definition, and which fire times of the next 30 days appear, vanish or
    move. Changes nothing; the exit code is 0 whether anything would change or not, and 1 where a definition is wrong.

    Parameters
    ----------
    path
        A .yaml, .json or .py file, a folder, or - for standard input.
    json
        Print JSON.
    """
    documents = read_documents(path, session.stdin)
    plans: list[Plan] = []
    async with session.client() as client:
        for document in documents:
            source = str(document.folder) if document.folder else None
            try:
                found = await client.plan(document.content, MEDIA_TYPES[document.format], source)
            except Invalid as error:
                for line in refusal_lines(document, error):
                    session.err.line(line)
                continue
            plans.append(found)
            if not json:
                for line in plan_lines(found):
                    session.out.line(line)
    if json:
        session.out.json(plans)
    return OK if len(plans) == len(documents) else FAILED


def plan_lines(plan: Plan) -> Iterator[str]:
    """The plan for people."""
    if plan["unchanged"]:
        yield f"{plan['workflow']}: no changes"
        return
    yield f"{plan['workflow']}: {_versions(plan)}{'' if plan['enabled'] else '; disabled, so nothing fires'}"
    if plan["live_version"] is not None:
        yield from _definition_lines(plan)
    changed = [trigger for trigger in plan["triggers"] if _changes(trigger)]
    if changed:
        yield f"  fire times from {moment(plan['planned_from'])} to {moment(plan['planned_until'])}:"
    for trigger in changed:
        yield from _trigger_lines(trigger)
    if not changed:
        yield "  no fire time of the next 30 days changes"


def _versions(plan: Plan) -> str:
    coming = f"version {plan['version']}{'' if plan['creates_version'] else ' again'}"
    if plan["live_version"] is None:
        return f"not deployed -> {coming}"
    if plan["live_version"] == plan["version"]:
        return f"{coming}, with other fire times"
    return f"version {plan['live_version']} -> {coming}"


def _definition_lines(plan: Plan) -> Iterator[str]:
    for change in plan["definition"]:
        yield f"  {_SIGNS[change['change']]} {'.'.join(change['path'])}{_values(change)}"
    more = plan["definition_total"] - len(plan["definition"])
    if more > 0:
        yield f"  … and {more} more"


def _values(change: DefinitionChange) -> str:
    if change["change"] == "changed":
        return f": {change['before'] or 'none'} -> {change['after'] or 'none'}"
    return f": {change['after']}" if change["change"] == "added" else ""


def _changes(trigger: TriggerPlan) -> bool:
    fires = trigger["fires"]
    return bool(fires["appear_total"] or fires["vanish_total"] or fires["move_total"])


def _trigger_lines(trigger: TriggerPlan) -> Iterator[str]:
    fires = trigger["fires"]
    counts = f"{fires['appear_total']} appear, {fires['vanish_total']} vanish, {fires['move_total']} move"
    paused = " (paused: none fires until it is resumed)" if trigger["paused"] else ""
    yield f"    {trigger['trigger']}: {counts}, {fires['unchanged']} stay{paused}"
    if trigger["note"]:
        yield f"      note: {trigger['note']}"
    if trigger["truncated"]:
        yield f"      too many to compare them all: up to {moment(fires['until'])}"
    yield from _listed([f"+ {moment(time['at'])}" for time in fires["appear"]], fires["appear_total"])
    yield from _listed([f"- {moment(time['at'])}" for time in fires["vanish"]], fires["vanish_total"])
    moved = [f"~ {moment(pair['before']['at'])} -> {moment(pair['after']['at'])}" for pair in fires["move"]]
    yield from _listed(moved, fires["move_total"])


def _listed(lines: list[str], total: int) -> Iterator[str]:
    for line in lines[:SHOWN]:
        yield f"      {line}"
    if total > SHOWN:
        yield f"      {lines[0][0]} … {total - SHOWN} more"
