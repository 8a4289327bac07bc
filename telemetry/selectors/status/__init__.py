"""Is it healthy? The sections of the status page that the telemetry app can answer, and the report of all of them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

from django.conf import settings
from django.utils.module_loading import import_string

from fleet.status import BAD, Line, Report, Section

logger = logging.getLogger(__name__)


def report(now: datetime) -> Report:
    """Every section of settings.STATUS_SECTIONS; one that cannot be read is bad, and hides no other."""
    return Report([_answer(path, import_string(path), now) for path in settings.STATUS_SECTIONS])


def _answer(path: str, section: Callable[[datetime], Section], now: datetime) -> Section:
    try:
        return section(now)
    except Exception as failure:
        logger.warning("The status of %s could not be read: %s", path, failure)
        title = path.rpartition(".")[2].replace("_", " ")
        return Section(
            name=title.replace(" ", "-"),
            title=title.capitalize(),
            lines=[
                Line(
                    "Readable",
                    BAD,
                    "no",
                    f"{type(failure).__name__}: {failure}"[:300],
                    "Mend what is named; until then nothing is known of this part.",
                )
            ],
        )
