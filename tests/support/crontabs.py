"""Crontabs as text → what an import makes of them."""

from collections.abc import Mapping
from typing import Any

from scheduler_application.importing.convert import Conversion, convert_crontab
from scheduler_application.importing.crontab import Form
from scheduler_application.importing.form import read_any
from scheduler_application.importing.report import ImportReport


def imported(text: str, form: Form = Form.USER, **options: Any) -> ImportReport:
    crontab, _ = read_any(text, "crontab", form)
    return convert_crontab(crontab, Conversion(**{"source": "crontab", "timezone": "Europe/Berlin", **options}))


def only_document(text: str, form: Form = Form.USER, **options: Any) -> Mapping[str, Any]:
    (carried,) = imported(text, form, **options).carried
    return carried.document


def codes(report: ImportReport) -> set[tuple[int | None, str]]:
    return {(note.line, note.code) for note in report.notes}
