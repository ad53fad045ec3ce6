"""The inputs of a report: the model, its held-out scores, the history, and the company's settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from features.cohort import Snapshots, lead_codes
from features.point_in_time import is_visible
from models.points_table import score_points
from models.score_parts import parts_to_frame
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
    from training.analysis.fairness import Fairness
    from training.analysis.stage_entries import StageEntries
    from training.config.settings import Config
    from training.data.dataset import IngestSummary
    from training.points.learned_table import LearnedScorecard
    from training.trained_model import TrainedModel

    Flags = NDArray[np.bool_]

# The stage that hands leads over where the configuration names none.
HAND_OVER = "mql"
# Held-out rows whose parts are graded.
GRADED = 4000
# Held-out rows whose contributions are computed, and those whose contributions by refits are, too: how the
# means of refits differ shows on few rows, and TreeSHAP of all of them by five refits costs half a fit.
EXPLAINED, EXPLAINED_BY_REFITS = 1000, 300


@dataclass(frozen=True)
class ReportSettings:
    """What a report needs of a company's configuration.

    Attributes:
        label: What is predicted; None for a flat export.
        stages: The stages in the order of the funnel; none for a flat export.
        hand_over: The stage whose entry gives a lead to sales today, if there is one.
        points: Today's points table, if named in [report].
        settings: The [report] section.
        since: Start of [cohort]: outcomes of leads created before are incomplete.
    """

    label: LabelSpec | None = None
    stages: tuple[str, ...] = ()
    hand_over: str | None = None
    points: PointsTable | None = None
    settings: Settings = field(default_factory=Settings)
    since: int | None = None


@dataclass(frozen=True)
class ReportInput:
    """Everything a report is computed from.

    Attributes:
        features: The k features.
        card: The model card.
        version: The model's version.
        scores: (n,) rows as ``ConversionModel.score_rows`` gives them, with ``lead_id`` and ``as_of``, by
            models that were not trained on them.
        label: (n,) 1.0 where the lead converted, else 0.0.
        training_rows: The feature rows of training, at ``training_places``.
        held_out_rows: (n,) the feature rows of ``scores``.
        explained_rows: (m,) a sample of the held-out feature rows.
        contributions: (m, k) their contributions, in log-odds.
        intake: What was read, quarantined and excluded.
        capacity: Share of leads that sales can call, in (0, 1].
        history: Everything the CRM knew; None for a flat export.
        company: Settings of the company.
        model: The model in use, which may have been trained on the held-out rows; it scores open leads.
        learned: The points table that approximates the model, if any.
        refit_contributions: Contributions like ``contributions`` by jackknife refits, of the rows at
            ``refit_places`` alone.
        refit_share: The share of all leads that the refits were trained on samples of.
        refit_log_odds: (m,) log-odds of the explained rows by each refit; none where rows were held out by
            shuffled folds, in which predictions and outcomes do not vary independently.
        fairness: The comparison of groups by chosen columns; None where no columns are chosen.
        explained_places: (m,) the places of the explained rows among the held-out rows; None if not known.
        part_grades: ``place`` among the held-out rows and ``combined_grade``, by models that were not trained
            on the row's lead; None where there are no such models, or the model has no parts.
        refit_places: The places among the explained rows of those that refits explain. Default: all.
        training_places: The places of the rows of training among ``training_rows``. Default: all.

    Raises:
        ValueError: Numbers of rows do not match, there are none, or all outcomes are equal.
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
    refit_log_odds: tuple[NDArray[np.float64], ...] = ()
    explained_places: NDArray[np.intp] | None = None
    part_grades: pl.DataFrame | None = None
    fairness: Fairness | None = None
    refit_places: NDArray[np.intp] | None = None
    training_places: NDArray[np.intp] | None = None

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
            msg = "a report needs held-out leads and explained leads; one of the two tables is empty"
            raise ValueError(msg)
        if len(np.unique(self.label)) < 2:  # noqa: PLR2004  # converted and not
            msg = "all held-out leads have the same outcome, so nothing can be measured; use more leads"
            raise ValueError(msg)

    @cached_property
    def lead(self) -> NDArray[np.int64]:
        """(n,) the number of each held-out row's lead, from 0; snapshots of a lead share its outcome."""
        return lead_codes(self.scores["lead_id"])

    @property
    def learned_rows(self) -> int:
        """The number of rows of training."""
        return len(self.training_rows if self.training_places is None else self.training_places)

    @cached_property
    def all_stage_entries(self) -> StageEntries | NotApplicable:
        """The stage entries of every lead, computed once for all sections."""
        return self._entries_since()

    @cached_property
    def stage_entries(self) -> StageEntries | NotApplicable:
        """Stage entries of the leads with complete outcomes: those created from ``company.since`` on."""
        since = self.company.since
        return self.all_stage_entries if since is None else self._entries_since(since)

    def _entries_since(self, since: int | None = None) -> StageEntries | NotApplicable:
        if self.history is None or self.company.label is None:
            return NotApplicable("no_history")
        return stage_entries_since(self.history, self.company.stages, self.company.label, since)


def report_settings(config: Config) -> ReportSettings:
    """Read the settings of a report from a configuration.

    Args:
        config: The configuration; the file of the points table that it names is read.

    Returns:
        The settings; without label, stages and hand-over for a flat export.

    Raises:
        ConfigError: The points table cannot be read.
    """
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


def report_input(
    fitted: TrainedModel, model: ConversionModel, seed: int = 0, company: ReportSettings | None = None
) -> ReportInput:
    """Collect the inputs of a report on a trained model.

    Args:
        fitted: The trained model with its held-out scores.
        model: The same model as saved, which has a version.
        seed: Seed of the sample of ``EXPLAINED`` rows whose contributions are computed.
        company: Settings of the company; default none.

    Returns:
        The inputs, with at most ``EXPLAINED`` explained rows.
    """
    dataset, rows = fitted.dataset, len(fitted.held_out_rows)
    sample = np.random.default_rng(seed).permutation(fitted.held_out_rows)[: min(EXPLAINED, rows)]
    places = np.argsort(fitted.held_out_rows)
    places = places[np.isin(fitted.held_out_rows[places], sample)]
    explained = dataset.rows[fitted.held_out_rows[places]]
    _, contributions = model.contributions(explained)
    refits = fitted.refits
    predictors = refits.predictors if refits else ()
    matrices = [predictor.encodings.encode(explained) for predictor in predictors]
    some = np.arange(0, len(places), -(-len(places) // EXPLAINED_BY_REFITS))
    earlier = np.setdiff1d(np.arange(len(dataset)), fitted.held_out_rows)
    return ReportInput(
        features=model.reason_features,
        card=model.card,
        version=model.version,
        scores=fitted.scores,
        label=fitted.label,
        # With shuffled folds every row is held out by some model: no earlier rows are left to compare with.
        training_rows=model.with_combinations(dataset.rows),
        training_places=earlier if len(earlier) else None,
        held_out_rows=model.with_combinations(dataset.rows[fitted.held_out_rows]),
        explained_rows=model.with_combinations(explained),
        contributions=contributions,
        intake=dataset.intake,
        capacity=fitted.capacity,
        history=dataset.history,
        company=company or ReportSettings(),
        model=model,
        refit_contributions=tuple(
            predictor.contributions(matrix[some])[1]
            for predictor, matrix in zip(predictors, matrices, strict=True)
        ),
        refit_log_odds=tuple(
            predictor.log_odds(matrix) for predictor, matrix in zip(predictors, matrices, strict=True)
        )
        if len(earlier)
        else (),
        explained_places=places,
        part_grades=_part_grades(fitted, model),
        refit_places=some,
        refit_share=refits.share if refits else 1.0,
    )


def _part_grades(fitted: TrainedModel, model: ConversionModel) -> pl.DataFrame | None:
    """The grades of fit and engagement of held-out rows, each by the refit that left its lead out.

    The model in use has learned from these leads by now: where a lead of its own making adds to a part, it
    would grade itself.
    """
    if fitted.refits is None or model.part_scales is None:
        return None
    frames = []
    for predictor, omitted in zip(fitted.refits.predictors, fitted.refits.omitted, strict=True):
        places = np.flatnonzero(np.isin(fitted.held_out_rows, omitted))
        places = places[:: 1 + len(places) * len(fitted.refits.predictors) // GRADED]
        rows = fitted.dataset.rows[fitted.held_out_rows[places]]
        _, contributions = predictor.contributions(predictor.encodings.encode(rows))
        grades = parts_to_frame(model.split_contributions(contributions))["combined_grade"]
        frames.append(pl.DataFrame({"place": places, "combined_grade": grades}))
    return pl.concat(frames).drop_nulls()


def current_rule_handover(inputs: ReportInput) -> Flags | None:
    """Apply today's rule to each held-out row: the points table if named, else the hand-over stage.

    Returns:
        (n,) whether the rule had handed the lead over by its ``as_of``; None without a rule.
    """
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
