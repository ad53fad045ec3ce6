"""What a report is made from: a model, how it scored leads new to it, and the history behind them.

What a company's configuration says that its report needs: its question, its stages, its rule of today.

Which leads today's rule gives to sales: by the points table, if one was named, or by their stage.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from features.cohort import Snapshots, lead_codes
from features.point_in_time import is_visible
from models.conversion import ConversionModel
from models.model_card import ModelCard
from models.points_table import score_points
from training.analysis.not_applicable import NotApplicable
from training.analysis.stage_entries import stage_entries_since
from training.config.settings import ReportConfig as Settings
from training.points import table_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from features.history import LeadHistory
    from features.labels import LabelSpec
    from features.spec import FeatureSet
    from models.conversion import ConversionModel
    from models.model_card import ModelCard
    from models.points_table import PointsTable
    from training.analysis.stage_entries import StageEntries
    from training.config.settings import Config
    from training.data.dataset import IngestSummary
    from training.points.learned_table import LearnedScorecard
    from training.trained_model import TrainedModel

    Flags = NDArray[np.bool_]


HAND_OVER = "mql"


@dataclass(frozen=True)
class ReportSettings:
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


def report_settings(config: Config) -> ReportSettings:
    """What ``config`` says. Raises ConfigError where its points table cannot be read."""
    settings = config.report
    points = None if settings.points is None else table_file.load_points_table(settings.points)
    if config.funnel is None:
        return ReportSettings(points=points, settings=settings)
    stages = config.funnel.stages
    return ReportSettings(
        label=config.label_spec,
        stages=stages,
        hand_over=settings.hand_over or (HAND_OVER if HAND_OVER in stages else None),
        points=points,
        settings=settings,
        since=config.cohort.start,
    )


@dataclass(frozen=True)
class ReportInput:
    """What a report is made from.

    ``scores`` are rows as ``ConversionModel.score_rows`` gives them, with ``lead_id`` and ``as_of``, of leads
    the model did not learn from; ``label`` (n,) is 1.0 where such a lead converted, else 0.0. ``history`` is
    all that the company's CRM knew; a flat export has none.

    ``trained`` and ``judged`` are the feature rows of training and of ``scores``; ``explained`` those of a
    sample, and ``contributions`` (m, features) its contributions in log-odds. ``capacity`` is the share of
    leads that sales can call, in (0, 1]. ``model`` is the one in use, which may have learned from what is
    judged here; it answers for open leads. ``learned`` is the points table that stands in for it.
    ``refitted`` are contributions like ``contributions`` by models that each did without one group of leads,
    dealt from ``refitted_share`` of all leads.
    """

    features: FeatureSet
    card: ModelCard
    version: str
    scores: pl.DataFrame
    label: NDArray[np.float64]
    training_rows: pl.DataFrame
    held_out_rows: pl.DataFrame
    explained_rows: pl.DataFrame
    contributions: NDArray[np.float64]
    intake: IngestSummary
    capacity: float = 0.1
    history: LeadHistory | None = None
    company: ReportSettings = field(default_factory=ReportSettings)
    model: ConversionModel | None = None
    learned: LearnedScorecard | None = None
    refit_contributions: tuple[NDArray[np.float64], ...] = ()
    refit_share: float = 1.0

    def __post_init__(self) -> None:
        sizes = {
            "label": (len(self.label), len(self.scores)),
            "judged": (len(self.held_out_rows), len(self.scores)),
            "contributions": (self.contributions.shape, (len(self.explained_rows), len(self.features))),
        }
        if wrong := [name for name, (actual, expected) in sizes.items() if actual != expected]:
            msg = f"{wrong[0]} has {sizes[wrong[0]][0]} rows where {sizes[wrong[0]][1]} belong"
            raise ValueError(msg)
        if not len(self.scores) or not len(self.explained_rows):
            msg = "a report needs judged leads and explained leads; one of them is empty"
            raise ValueError(msg)
        if len(np.unique(self.label)) < 2:  # noqa: PLR2004  # converted and not
            msg = "the judged leads all have the same outcome, so nothing can be measured; use more leads"
            raise ValueError(msg)

    @cached_property
    def lead(self) -> NDArray[np.int64]:
        """(n,) a number for the lead of each judged row: looked at twice, it still had one outcome."""
        return lead_codes(self.scores["lead_id"])

    @cached_property
    def all_stage_entries(self) -> StageEntries | NotApplicable:
        """Every lead's road through the funnel: read off the history once, for all blocks."""
        return self._entries_since()

    @cached_property
    def stage_entries(self) -> StageEntries | NotApplicable:
        """The roads of the leads of which it is known what became of them: those since outcomes were kept."""
        since = self.company.since
        return self.all_stage_entries if since is None else self._entries_since(since)

    def _entries_since(self, since: int | None = None) -> StageEntries | NotApplicable:
        if self.history is None or self.company.label is None:
            return NotApplicable("no_history")
        return stage_entries_since(self.history, self.company.stages, self.company.label, since)


def current_rule_handover(inputs: ReportInput) -> Flags | None:
    """(n,) whether today's rule had handed over each judged lead by its as_of; None without a rule."""
    table, stage = inputs.company.points, inputs.company.hand_over
    if inputs.history is None:
        return None
    snapshots = inputs.scores.select("lead_id", "as_of")
    if table is not None:
        total = score_points(table, inputs.history, Snapshots(snapshots))["points"]
        return (total >= table.thresholds.mql).to_numpy()
    return None if stage is None else _has_entered(inputs.history, stage, snapshots)


def _has_entered(history: LeadHistory, stage: str, snapshots: pl.DataFrame) -> Flags:
    """(n,) whether the CRM knew at each snapshot that the lead had entered ``stage``."""
    entries = history.transitions.filter(pl.col("stage") == stage)
    rows = snapshots.with_row_index("row")
    visible = rows.join(entries, on="lead_id").filter(
        is_visible(pl.col("occurred_at"), pl.col("known_at"), pl.col("as_of"))
    )
    return rows["row"].is_in(visible["row"].unique().implode()).to_numpy()


EXPLAINED = 1000


def report_input(
    fitted: TrainedModel, model: ConversionModel, seed: int = 0, company: ReportSettings | None = None
) -> ReportInput:
    """What the report of ``fitted`` is made from; ``model`` is the saved one, which has a version."""
    dataset, rows = fitted.dataset, len(fitted.judged)
    sample = np.random.default_rng(seed).permutation(fitted.judged)[: min(EXPLAINED, rows)]
    explained = dataset.rows[np.sort(sample)]
    _, contributions = model.contributions(explained)
    refits = fitted.refits
    earlier = np.setdiff1d(np.arange(len(dataset)), fitted.judged)
    return ReportInput(
        features=dataset.features,
        card=model.card,
        version=model.version,
        scores=fitted.scores,
        label=fitted.label,
        # Shuffled folds judge every row, by a model of the others; then there is no "before" to compare with.
        training_rows=dataset.rows[earlier] if len(earlier) else dataset.rows,
        held_out_rows=dataset.rows[fitted.judged],
        explained_rows=explained,
        contributions=contributions,
        intake=dataset.intake,
        capacity=fitted.capacity,
        history=dataset.history,
        company=company or ReportSettings(),
        model=model,
        refit_contributions=tuple(
            predictor.contributions(predictor.encodings.encode(explained))[1]
            for predictor in refits.predictors
        )
        if refits
        else (),
        refit_share=refits.share if refits else 1.0,
    )
