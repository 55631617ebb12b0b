"""The version of what answers here."""

from importlib.metadata import version

VERSION = version("scheduler-api")
