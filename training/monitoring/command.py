"""One look at a model in use as the command makes it: said, written, and on request repaired."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from training.monitoring.monitor import monitor
from training.monitoring.repair import relevel
from training.page.monitor_page import monitor_page
from training.sink import write_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from features.messages import Lang
    from models.conversion import ConversionModel
    from training.monitoring.monitored import Monitored
    from training.monitoring.watched import Seen


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for: of how many ``last`` days, where a ``page`` in ``lang`` and a repair are to go."""

    last: int | None = None
    page: Path | None = None
    lang: Lang = "en"
    repair: Path | None = None


def look(model: ConversionModel, seen: Seen, wanted: Wanted, say: Callable[[str], None]) -> Monitored:
    """The verdict on ``model``."""
    found = monitor(model, seen.scores, seen.outcomes, last=wanted.last)
    for line in found.in_words():
        say(line)
    if wanted.page is not None:
        write_text(wanted.page, monitor_page(found, wanted.lang))
    if wanted.repair is not None:
        say(relevel(model, seen.known, wanted.repair, wanted.last).in_words())
        say(f"model with its level moved: leadloop promote {wanted.repair / 'model'}")
    return found
