"""One look at a model in use as the command makes it: said, written, and on request repaired."""

from __future__ import annotations

from typing import TYPE_CHECKING

from training.monitoring.monitor import monitor
from training.monitoring.repair import relevel
from training.page.monitor_page import monitor_page
from training.sink import write_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from models.conversion import ConversionModel
    from training.monitoring.monitored import Monitored
    from training.monitoring.watched import Seen


def look(
    model: ConversionModel,
    seen: Seen,
    last: int | None,
    into: tuple[Path | None, Path | None],
    say: Callable[[str], None],
) -> Monitored:
    """The verdict on ``model``; ``into`` is where a page goes, and where the model with its level moved."""
    found, (page, folder) = monitor(model, seen.scores, seen.outcomes, last=last), into
    for line in found.in_words():
        say(line)
    if page is not None:
        write_text(page, monitor_page(found))
    if folder is not None:
        say(relevel(model, seen.known, folder, last).in_words())
        say(f"model with its level moved: leadloop promote {folder / 'model'}")
    return found
