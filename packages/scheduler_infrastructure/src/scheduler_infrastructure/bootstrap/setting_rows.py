"""The settings for people: what `orrery config` prints and what the documentation is made from."""

from dataclasses import MISSING, Field, dataclass
from typing import Any

from scheduler_infrastructure.bootstrap.setting_values import MASK, masked_url
from scheduler_infrastructure.bootstrap.settings import Settings, setting_fields


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One setting for people; ``value`` is masked, ``default`` is what holds where nothing is set."""

    name: str
    value: str
    source: str
    meaning: str
    default: str
    unit: str


def describe(settings: Settings) -> list[SettingRow]:
    """Every setting with its value (masked), where it came from and what it means; named values one row each."""
    rows = []
    for name, entry in setting_fields().items():
        variable = entry.metadata.get("variable")
        if variable is None:
            rows.append(_row(entry, f"ORRERY_{name.upper()}", getattr(settings, name), settings.sources.get(name)))
            continue
        for key, value in getattr(settings, name).items():
            rows.append(_row(entry, f"{variable}{key}", value, settings.sources.get(f"{name}.{key}")))
    return rows


def _row(entry: Field[Any], name: str, value: Any, source: str | None) -> SettingRow:
    data = entry.metadata
    default = data["shown"] or _text(MISSING if entry.default is MISSING else entry.default)
    return SettingRow(name, _shown(value, data["masked"]), source or "default", data["meaning"], default, data["unit"])


def _shown(value: Any, masked: str) -> str:
    if value is None or not masked:
        return _text(value)
    return MASK if masked == "all" else masked_url(str(value))


def _text(value: Any) -> str:
    if value is None or value is MISSING:
        return ""
    if isinstance(value, tuple):
        return ",".join(str(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
