"""What this process is set to."""

from scheduler_infrastructure.bootstrap.setting_rows import describe
from scheduler_infrastructure.bootstrap.settings import Settings


def setting_records(settings: Settings) -> list[dict[str, str]]:
    """Every setting as ``name``, ``value`` (masked), ``source``, ``meaning``, ``default`` and ``unit``."""
    return [
        {
            "name": row.name,
            "value": row.value,
            "source": row.source,
            "meaning": row.meaning,
            "default": row.default,
            "unit": row.unit,
        }
        for row in describe(settings)
    ]
