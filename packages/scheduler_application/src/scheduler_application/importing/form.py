"""Which form a crontab has, where nobody says so."""

import re

from scheduler_application.importing.anacrontab import read_anacrontab
from scheduler_application.importing.crontab import Crontab, Form, read_crontab
from scheduler_domain.naming import shown

_HEADER = re.compile(r"#.*\bdow\s+user(?:-?name)?\b", re.IGNORECASE)
_SYSTEM_FILE = re.compile(r"(?:\A|/)(?:etc/crontab|cron\.d/[^/]+|cron\.d)\Z")
_ACCOUNT = re.compile(r"[a-z_][a-z0-9_-]*\$?")
_TIMES = re.compile(r"[0-9*/,-]*[0-9*][0-9*/,-]*")
_WELL_KNOWN = frozenset(
    {
        *("root", "daemon", "sys", "games", "news", "uucp", "proxy", "www-data", "irc", "nobody", "postgres", "redis"),
        *("rabbitmq", "amavis", "clamav", "debian-spamd", "logcheck", "smmsp", "jenkins", "nagios"),
    }
)
"""Accounts of Debian and of daemons; without those that are programs too (``mail``, ``git``, ``mysql``)."""


def read_any(text: str, path: str, form: Form | None) -> tuple[Crontab, str | None]:
    """The crontab in ``text``, and, where its form had to be guessed, on what."""
    why = None
    if form is None:
        form, why = _guess(text, path)
    return read_anacrontab(text) if form is Form.ANACRON else read_crontab(text, form), why


def _guess(text: str, path: str) -> tuple[Form, str]:
    user = read_crontab(text, Form.USER)
    if _is_anacrontab(text, user):
        return Form.ANACRON, "its lines have a period, a delay and a job's name"
    if _SYSTEM_FILE.search(path):
        return Form.SYSTEM, "it lies where system crontabs are"
    if _HEADER.search(text):
        return Form.SYSTEM, "a comment names the column 'user'"
    words = [entry.command.split(None, 1) for entry in user.entries]
    if not words or not all(len(pair) == 2 and _ACCOUNT.fullmatch(pair[0]) for pair in words):
        return Form.USER, "no user stands before the commands"
    if any(name in _WELL_KNOWN for name, _ in words):
        return Form.SYSTEM, "a user stands before each command"
    return Form.USER, "no known user stands before a command"


def _is_anacrontab(text: str, user: Crontab) -> bool:
    """Five fields and one word look like anacron's line too; anacron's own never look like five fields."""
    if any(not entry.schedule.startswith("@") for entry in user.entries):
        return False
    anacron = read_anacrontab(text)
    return bool(anacron.entries) and len(anacron.refused) <= len(user.refused)


def likely_columns(command: str) -> str | None:
    """What the first word of a user crontab's command looks like, where it looks like one more column."""
    word, _, rest = command.partition(" ")
    if rest.strip() and word in _WELL_KNOWN:
        return f"{shown(word)!r} is read as part of the command; if it is a user, give --form system"
    if rest.strip() and _TIMES.fullmatch(word):
        return f"{shown(word)!r} is read as part of the command: a crontab has five fields of time, none for seconds"
    return None
