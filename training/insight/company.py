"""What a company's configuration says that its report needs: its question, its stages, its rule of today."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from training.insight.settings import Report as Settings
from training.pointing import points_file

if TYPE_CHECKING:
    from features.labels import LabelSpec
    from models.points_table import PointsTable
    from training.config import Config

HAND_OVER = "mql"


@dataclass(frozen=True)
class Company:
    """A flat export has no ``label`` and no ``stages``.

    ``stages`` are in the order of the funnel; entering ``hand_over`` gives a lead to sales today, where there
    is such a stage; ``points`` is the table of today, where one was named in [report]. What became of
    leads created before ``since`` ([cohort] from) is not all known.
    """

    label: LabelSpec | None = None
    stages: tuple[str, ...] = ()
    hand_over: str | None = None
    points: PointsTable | None = None
    settings: Settings = field(default_factory=Settings)
    since: int | None = None


def company(config: Config) -> Company:
    """What ``config`` says. Raises ConfigError where its points table cannot be read."""
    settings = config.report
    points = None if settings.points is None else points_file.load(settings.points)
    if config.funnel is None:
        return Company(points=points, settings=settings)
    stages = config.funnel.stages
    return Company(
        label=config.label_spec,
        stages=stages,
        hand_over=settings.hand_over or (HAND_OVER if HAND_OVER in stages else None),
        points=points,
        settings=settings,
        since=config.cohort.start,
    )
