"""The demo: a simulated company, from the export of its CRM to a promoted model.

The exact probability of every simulated lead is known, so the demo can tell which share of the information
that there is the model captures.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import polars as pl

from features.clock import DAY, to_datetime
from features.cohort import Snapshots, draw_snapshots
from features.labels import compute_labels
from models import metrics
from training.config.settings import load_config
from training.data.dataset import compute_feature_rows
from training.pipeline.train import run_training
from training.registry.promotion import PromotionRefusedError, promote_model
from training.simulation.export import InvalidRows, example_request, write_csv
from training.simulation.ground_truth import bayes_probability, information_captured
from training.simulation.living_company import move_to_present, name_people, recent_leads
from training.simulation.simulator import simulate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from features.history import LeadHistory
    from models.conversion import ConversionModel
    from training.config.settings import Config
    from training.pipeline.train import TrainingRun
    from training.registry.tracking import Tracking
    from training.simulation.simulator import SimulatedCrm

    Say = Callable[[str], None]

KNOWN_SHARE = 0.7
# So many that the figures are of the model and not of the draw: the exact probability itself shows a
# calibration error of 0.013 on the outcomes of 11,000 snapshots.
JUDGES = 150_000
# The console's leads are as old as those that the model learned from, and no older.
_RECENT = 60 * DAY
JUNK = InvalidRows(times=12, leads=9, duplicates=7, stages=5, kinds=6)


@dataclass(frozen=True, slots=True)
class BayesComparison:
    """Metrics of a model on later leads, beside those of the exact probabilities."""

    leads: int
    information_captured: float
    roc_auc: float
    roc_auc_bayes: float
    calibration_error: float


@dataclass(frozen=True)
class DemoResult:
    """The result of the demo.

    Attributes:
        trained: The training run on the simulated export.
        truth: Metrics of its model on later leads, beside those of the exact probabilities.
        request: The JSON body of a request to ``/v1/score`` for one lead that is still open.
        living: The company's recent leads, as if it lived now and people had names, for the lead store.
    """

    trained: TrainingRun
    truth: BayesComparison
    request: dict[str, Any]
    living: LeadHistory

    def to_dict(self) -> dict[str, Any]:
        """The result as ``demo --json`` writes it."""
        return asdict(self.truth) | {
            "report": str(self.trained.folder / "report.html"),
            "run_id": self.trained.run.run_id,
            "model_dir": str(self.trained.model_dir),
        }


def run_demo(leads: int, seed: int, out: Path, tracking: Tracking, say: Say) -> DemoResult:
    """Simulate a CRM, train on its export, evaluate on later leads, and promote the model.

    Args:
        leads: How many leads the company has.
        seed: The same seed gives the same company.
        out: The folder for everything that is written.
        tracking: Where the run is logged.
        say: Called with lines about the progress.

    Returns:
        The result.
    """
    say(f"simulating {leads:,} leads (seed {seed}) ...")
    world = simulate(leads, seed)
    today = _today(world)
    past = replace(world, history=world.history.known_before(today))
    say(f"writing what the CRM would export, junk rows included, to {out / 'crm'} ...")
    write_csv(past, out / "crm", JUNK, seed)
    config = load_config(out / "crm" / "leadloop.toml")
    trained = run_training(config, out, tracking, configuration=out / "crm" / "leadloop.toml", say=say)
    say(f"measuring on further leads of the same company, created after {to_datetime(today):%Y-%m-%d} ...")
    truth = evaluate_against_truth(trained.model, simulate(JUDGES, seed + 1), config, today)
    say(_in_words(truth))
    say(_promote(trained.run.run_id, tracking))
    living = name_people(move_to_present(recent_leads(past.history, _RECENT), int(time.time())), seed)
    return DemoResult(trained, truth, example_request(past), living)


def _promote(run_id: str, tracking: Tracking) -> str:
    """Promote the run; a line with the result. The champion of an earlier demo may be better."""
    try:
        promotion = promote_model(run_id, tracking=tracking).promotion
    except PromotionRefusedError as refused:
        return str(refused)
    return (
        f"promoted to champion (version {promotion.version}), copied for the service as {promotion.bento_tag}"
    )


def evaluate_against_truth(
    model: ConversionModel, world: SimulatedCrm, config: Config, today: int
) -> BayesComparison:
    """Compare a model with the exact probabilities, on leads created from ``today`` (epoch seconds) on."""
    history, rule = world.history, replace(config.cohort_rule, start=today)
    later = history.leads.filter(pl.col("created_at") >= today).select("lead_id")
    snapshots = Snapshots(draw_snapshots(history, rule).frame.join(later, on="lead_id", how="semi"))
    matured = compute_labels(history, snapshots, config.label_spec).filter("matured").sort("as_of", "lead_id")
    matured_snapshots = Snapshots(matured.select("lead_id", "as_of"))
    y = matured["label"].to_numpy()
    p = model.score_frame(compute_feature_rows(model.features, history, matured_snapshots))[
        "probability"
    ].to_numpy()
    bayes = bayes_probability(world, matured_snapshots, config.label_spec.horizon)
    return BayesComparison(
        leads=later.height,
        information_captured=information_captured(y, p, bayes, model.card.base_rate),
        roc_auc=metrics.roc_auc(y, p),
        roc_auc_bayes=metrics.roc_auc(y, bayes),
        calibration_error=metrics.expected_calibration_error(y, p),
    )


def _today(world: SimulatedCrm) -> int:
    start, end = world.world.start, world.world.end
    return start + int(KNOWN_SHARE * (end - start))


def _in_words(truth: BayesComparison) -> str:
    return (
        f"on {truth.leads:,} later leads: ROC AUC {truth.roc_auc:.3f} where {truth.roc_auc_bayes:.3f} is the "
        f"best possible; {truth.information_captured:.1%} of what can be known is captured; calibration "
        f"error {truth.calibration_error:.3f}"
    )
