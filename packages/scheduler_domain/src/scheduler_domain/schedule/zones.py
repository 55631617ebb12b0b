"""IANA time zones by name."""

import difflib
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from scheduler_domain.errors import InvalidDefinition, Problem

LOC = ("timezone",)
LONGEST_NAME = 64
_NOT_A_PLACE = frozenset({"Factory", "localtime", "posixrules"})
"""Entries of zone folders that name no zone: a placeholder, and what this machine happens to be set to."""


def zone_named(name: str) -> ZoneInfo:
    """The zone, by its exact IANA name; paths are not names. Raises `InvalidDefinition` (``unknown_timezone``)."""
    if name not in _names():
        raise InvalidDefinition([Problem(LOC, "unknown_timezone", _refusal(name))])
    return ZoneInfo(name)


@cache
def _names() -> frozenset[str]:
    return frozenset(available_timezones() - _NOT_A_PLACE)


def _refusal(name: str) -> str:
    accepted = "an IANA name such as Europe/Berlin or UTC"
    if not name.strip():
        return f"the time zone is empty; accepted: {accepted}"
    shown = repr(name) if len(name) <= LONGEST_NAME else repr(name[:LONGEST_NAME]) + "…"
    near = _nearest(name)
    return f"unknown time zone {shown}; " + (f"did you mean {near}?" if near else f"accepted: {accepted}")


def _nearest(name: str) -> str | None:
    # What looks like an offset is near to Etc/GMT+2, which means the opposite of what its author means.
    if len(name) > LONGEST_NAME or any(character in "+-0123456789" for character in name):
        return None
    wanted = name.strip().lower().replace(" ", "_")
    by_key = {known.rpartition("/")[2].lower(): known for known in sorted(_names(), reverse=True)}
    by_key |= {known.lower(): known for known in _names()}
    near = difflib.get_close_matches(wanted, by_key, n=1, cutoff=0.75)
    return by_key[near[0]] if near else None
