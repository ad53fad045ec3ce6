"""The promotion gate: a model becomes champion by its held-out performance, or forced with a reason.

Training logs the evidence with the run, so that a decision takes two small files, and neither data nor model.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from models import artifact
from training.registry import registry
from training.registry.comparison import (
    EVIDENCE,
    JUDGED,
    Comparison,
    NotComparable,
    PromotionEvidence,
    collect_evidence,
    compare_held_out,
    held_out_predictions,
    no_champion,
    save_evidence,
)
from training.registry.tracking import Artifact, Tag, download_run_folder, mlflow_client, model_version_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from models.conversion import ConversionModel
    from models.metrics import Interval
    from training.registry.comparison import CalibrationCheck
    from training.registry.registry import Promotion
    from training.registry.tracking import Tracking
    from training.trained_model import TrainedModel

    Say = Callable[[str], None]

FOLDER = "promotion"
GATE, REASON, REFUSED_FOR = "leadloop.gate", "leadloop.forced_because", "leadloop.refused_for"
VERDICT = "leadloop.verdict"


@dataclass(frozen=True, slots=True)
class PromotionGate:
    """The limits that a challenger must keep.

    A limit of calibration counts as crossed only beyond chance; that of the log-loss by its value, because
    the burden of proof is the challenger's.

    Attributes:
        margin: The part of the champion's log-loss by which the challenger's may be larger.
        slope: The least and the largest calibration slope.
        intercept: The largest calibration intercept in log-odds, to either side.
        error: The largest expected calibration error.
    """

    margin: float = 0.005
    slope: tuple[float, float] = (0.8, 1.25)
    intercept: float = 0.25
    error: float = 0.05


@dataclass(frozen=True, slots=True)
class GateDecision:
    """The decision of the gate: ``reasons`` against a promotion, and ``notes`` on what it saw."""

    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def allowed(self) -> bool:
        """Whether there is no reason against it."""
        return not self.reasons


@dataclass(frozen=True, slots=True)
class PromotionResult:
    """A promotion and the decision of the gate on it.

    Attributes:
        promotion: The new champion and the version that it replaced.
        verdict: The decision of the gate.
        forced: The reason of whoever overruled the gate. Default: None, it was not overruled.
    """

    promotion: Promotion
    verdict: GateDecision
    forced: str | None = None

    def in_words(self) -> Iterator[str]:
        """Lines for a terminal: notes and reasons of the gate, and the new champion."""
        yield from (f"note: {line}" for line in (*self.verdict.notes, *self.verdict.reasons))
        promotion = self.promotion
        before = promotion.replaced or "none"
        version, model = promotion.version, promotion.model_version
        yield f"champion is version {version} (model {model}), in place of {before}"

    def to_dict(self) -> dict[str, Any]:
        """The result as ``promote --json`` writes it."""
        return asdict(self.promotion) | asdict(self.verdict) | {"forced": self.forced}


class PromotionRefusedError(ValueError):
    """The gate refuses; the champion stays. The message says why, and how to overrule it."""


@dataclass(frozen=True, slots=True)
class _Record:
    """The evidence of a run, and the file of its held-out predictions."""

    evidence: PromotionEvidence
    predictions_file: Path


@dataclass(frozen=True, slots=True)
class _Case:
    """The records of challenger and champion, as far as there are any."""

    challenger: _Record | None
    champion_version: str = ""
    champion: _Record | None = field(default=None)


def save_promotion_evidence(
    fitted: TrainedModel, model: ConversionModel, out: Path, store: Tracking, say: Say
) -> list[Artifact | Tag]:
    """Write the evidence for ``model`` to ``out``; what to log of it. No champion can stop a run."""
    try:
        evidence = collect_evidence(fitted, model, _champion(store))
    except (ValueError, KeyError, OSError, pl.exceptions.PolarsError) as error:
        why = NotComparable("unavailable", f"the champion cannot be asked: {error}")
        evidence = collect_evidence(fitted, model, why)
    say(in_words(evidence.comparison or evidence.not_comparable or no_champion()))
    if evidence.not_comparable and evidence.not_comparable.because != "no champion":
        say("`leadloop promote` will compare both models on rows held out from both")
    save_evidence(out, evidence, held_out_predictions(fitted))
    return [*_artifacts(out), _verdict_tag(evidence)]


def promote_model(
    source: str | Path, *, tracking: Tracking, gate: PromotionGate | None = None, force: str | None = None
) -> PromotionResult:
    """Make a model the champion if the gate allows it, or if it is forced.

    Args:
        source: A run id, or a model folder.
        tracking: The tracking store and registry.
        gate: The limits. Default: ``PromotionGate()``.
        force: A reason to promote whatever the gate says and whosever model it is, kept with the model.

    Returns:
        The promotion and the decision of the gate.

    Raises:
        TrialError: The model cannot be loaded, or fails its trial; nothing was changed, and no reason helps.
        PromotionRefusedError: The gate refuses, or ``force`` is blank; the champion stays.
        RegistryError: There is no such run, or it logged no model.
        TrackingError: The store does not answer.
    """
    if force is not None and not force.strip():
        msg = "--force needs a reason in words; it is kept with the model"
        raise PromotionRefusedError(msg)
    with mlflow_client(tracking) as client:
        foreign = registry.foreign_project(client, source, tracking)
    verdict = evaluate_gate(source, tracking=tracking, gate=gate)
    verdict = replace(verdict, reasons=(foreign, *verdict.reasons)) if foreign else verdict
    if not verdict.allowed and force is None:
        raise PromotionRefusedError(_refusal(source, verdict))
    forced = None if verdict.allowed else force
    notes = {GATE: "passed"} if forced is None else {GATE: "forced", REASON: forced}
    if forced is not None:
        notes[REFUSED_FOR] = "; ".join(verdict.reasons)
    beside = _artifacts(Path(source).parent) if _record_beside(Path(source)) else []
    remark = _remark(verdict, forced)
    promotion = registry.set_champion(source, tracking=tracking, notes=notes, remark=remark, beside=beside)
    return PromotionResult(promotion, verdict, forced)


def rollback(*, tracking: Tracking) -> PromotionResult:
    """Make the previous champion the champion again, without asking the gate.

    Args:
        tracking: The tracking store and registry.

    Returns:
        The promotion, with a decision that has neither reasons nor notes.

    Raises:
        RegistryError: There is no champion, or none before it.
        TrackingError: The store does not answer.
    """
    return PromotionResult(registry.restore_champion(tracking=tracking), GateDecision())


def evaluate_gate(
    source: str | Path, *, tracking: Tracking, gate: PromotionGate | None = None
) -> GateDecision:
    """The decision of the gate on ``source``, a run id or a model folder; nothing is changed."""
    with mlflow_client(tracking) as client:
        run_id = registry.find_run(client, source)
        champion = registry.find_champion(client, tracking)
        if champion is not None and champion.run_id == run_id:
            return GateDecision(notes=("it is the champion already",))
        record = _load_record(download_run_folder(client, run_id, FOLDER)) if run_id else None
        case = _Case(record or _record_beside(Path(source)))
        if champion is not None:
            before = str(champion.run_id)
            version = model_version_of(client, before) or "unknown"
            case = _Case(case.challenger, version, _load_record(download_run_folder(client, before, FOLDER)))
    return _decide_case(case, gate or PromotionGate())


def decide(
    evidence: PromotionEvidence, comparison: Comparison | NotComparable, gate: PromotionGate
) -> GateDecision:
    """Decide on a challenger.

    Args:
        evidence: What its run left.
        comparison: With the champion, or why there is none.
        gate: The limits.

    Returns:
        The decision.
    """
    grave = (f"a check of high severity is open: {name}" for name in evidence.grave)
    reasons = (*grave, *_uncalibrated(evidence.standing.calibration, gate), *_worse(comparison, gate))
    slope, rest = evidence.standing.calibration.slope, _calibration_text(evidence)
    note = f"calibration on {evidence.rows:,} judged rows: slope {slope.value:.2f}, {rest}"
    return GateDecision(tuple(reasons), (in_words(comparison), note))


def in_words(comparison: Comparison | NotComparable) -> str:
    """A comparison in one line."""
    if isinstance(comparison, NotComparable):
        return f"not compared with a champion ({comparison.because}): {comparison.message}"
    challenger, champion = comparison.challenger_standing.log_loss, comparison.champion_standing.log_loss
    rows = f"{comparison.rows:,} {'later' if comparison.basis == 'later' else 'held-out'} rows"
    return (
        f"beside champion {comparison.champion} on {rows}: log-loss {challenger:.4f} against {champion:.4f}, "
        f"difference {_signed(comparison.worse_by)}"
    )


def _decide_case(case: _Case, gate: PromotionGate) -> GateDecision:
    if case.challenger is None:
        msg = "its held-out predictions were not saved; train it again with this release"
        return GateDecision((msg,))
    return decide(case.challenger.evidence, _compare_case(case, case.challenger), gate)


def _compare_case(case: _Case, mine: _Record) -> Comparison | NotComparable:
    """The comparison of training, if with today's champion; else one of both runs' held-out predictions."""
    if not case.champion_version:
        return no_champion()
    known = mine.evidence.comparison
    if known is not None and known.champion == case.champion_version:
        return known
    if case.champion is None:
        return NotComparable("unavailable", "the champion's run kept no judged rows")
    champion_evidence = case.champion.evidence
    if champion_evidence.question != mine.evidence.question:
        return NotComparable("other question", f"the champion predicts {champion_evidence.question!r}")
    if champion_evidence.time_ordered != mine.evidence.time_ordered:
        return NotComparable("judged otherwise", "one was judged on later rows, the other on random ones")
    challenger_rows, champion_rows = (
        pl.read_parquet(record.predictions_file) for record in (mine, case.champion)
    )
    return compare_held_out(challenger_rows, champion_rows, case.champion_version)


def _worse(comparison: Comparison | NotComparable, gate: PromotionGate) -> Iterator[str]:
    if isinstance(comparison, NotComparable):
        if comparison.because != "no champion":
            yield f"it cannot be compared with the champion ({comparison.because}): {comparison.message}"
        return
    allowed = gate.margin * comparison.champion_standing.log_loss
    if comparison.worse_by.value > allowed:
        chance = "" if comparison.worse_by.low > 0 else ", which may be chance"
        yield f"it is worse than the champion by more than {gate.margin:.1%}{chance}: {in_words(comparison)}"


def _uncalibrated(calibration: CalibrationCheck, gate: PromotionGate) -> Iterator[str]:
    slope, intercept = calibration.slope, calibration.intercept
    if slope.high < gate.slope[0] or slope.low > gate.slope[1]:
        bounds = f"{gate.slope[0]:g} to {gate.slope[1]:g}"
        yield f"its forecasts are too {_extreme(slope)}: calibration slope {slope.value:.2f}, not {bounds}"
    if intercept.low > gate.intercept or intercept.high < -gate.intercept:
        yield (
            f"its forecasts are too {'low' if intercept.value > 0 else 'high'}: calibration intercept "
            f"{intercept.value:+.2f}, more than {gate.intercept:g}"
        )
    if calibration.error > gate.error + calibration.chance:
        yield f"its calibration error is {calibration.error:.3f}, above {gate.error:g}"


def _extreme(slope: Interval) -> str:
    return "extreme" if slope.value < 1 else "cautious"


def _calibration_text(evidence: PromotionEvidence) -> str:
    calibration = evidence.standing.calibration
    return f"intercept {calibration.intercept.value:+.2f}, error {calibration.error:.3f}"


def _signed(figure: Interval) -> str:
    return f"{figure.value:+.4f} ({figure.low:+.4f} to {figure.high:+.4f})"


def _refusal(source: str | Path, verdict: GateDecision) -> str:
    return (
        f"not promoted, the champion stays: {'; '.join(verdict.reasons)}. To promote it all the same: "
        f'leadloop promote {source} --force "REASON"'
    )


def _champion(store: Tracking) -> ConversionModel | NotComparable:
    # Asking an embedded store that was never written would create it, and take ten seconds.
    if not store.exists or not store.project:
        return no_champion()
    with mlflow_client(store) as client:
        champion = registry.find_champion(client, store)
        return (
            no_champion() if champion is None else artifact.load(registry.download_folder(client, champion))
        )


def _remark(verdict: GateDecision, forced: str | None) -> str:
    """A sentence for the version's description: what the gate saw, and why it was overruled."""
    against = "" if forced is None else f"Forced ({forced}) against: {'; '.join(verdict.reasons)}. "
    return against + ". ".join(note[:1].upper() + note[1:] for note in verdict.notes)


def _verdict_tag(evidence: PromotionEvidence) -> Tag:
    """What the gate would decide today, for a list of runs; a promotion decides anew."""
    comparison = evidence.comparison or evidence.not_comparable or no_champion()
    verdict = decide(evidence, comparison, PromotionGate())
    return Tag(VERDICT, "may be promoted" if verdict.allowed else "refused: " + "; ".join(verdict.reasons))


def _artifacts(out: Path) -> list[Artifact]:
    return [Artifact(out / name, FOLDER) for name in (EVIDENCE, JUDGED)]


def _record_beside(model: Path) -> _Record | None:
    """The record beside a model folder, if it is of the model that is in it now."""
    record = _load_record(model.parent) if model.is_dir() else None
    return record if record and record.evidence.version == artifact.load(model).version else None


def _load_record(folder: Path | None) -> _Record | None:
    """The record in a folder; None without one."""
    if folder is None or not (file := folder / EVIDENCE).is_file():
        return None
    return _Record(PromotionEvidence.from_json(file.read_text(encoding="utf-8")), folder / JUDGED)
