"""One look at a model in use as the command makes it: said, written, and on request repaired."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from training.file_output import write_text
from training.monitoring.monitor import monitor_model
from training.monitoring.page import monitor_page
from training.monitoring.recalibration import recalibrate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from features.messages import Lang
    from models.conversion import ConversionModel
    from training.monitoring.inputs import MonitoringData
    from training.monitoring.results import MonitoringReport


@dataclass(frozen=True, slots=True)
class MonitorOptions:
    """What is asked for: of how many ``last`` days, where a ``page`` in ``lang`` and a repair are to go."""

    last: int | None = None
    page: Path | None = None
    lang: Lang = "en"
    repair: Path | None = None


def run_monitor(
    model: ConversionModel, seen: MonitoringData, wanted: MonitorOptions, say: Callable[[str], None]
) -> MonitoringReport:
    """The verdict on ``model``."""
    found = monitor_model(model, seen.scores, seen.outcomes, last=wanted.last)
    for line in found.in_words():
        say(line)
    if wanted.page is not None:
        write_text(wanted.page, monitor_page(found, wanted.lang))
    if wanted.repair is not None:
        say(recalibrate(model, seen.known, wanted.repair, wanted.last).in_words())
        say(f"model with its level moved: leadloop promote {wanted.repair / 'model'}")
    return found
