"""The gate: a model becomes champion by what it showed on rows it had not learned from, or by a kept reason.

Training keeps the evidence with the run, so that deciding takes no data and no model, only two small files.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
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
from training.registry.registry import NAME, Promotion
from training.registry.tracking import Artifact, download_run_folder, mlflow_client, model_version_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from models.conversion import ConversionModel
    from models.metrics import Interval
    from training.registry.comparison import CalibrationCheck
    from training.registry.tracking import Tracking
    from training.trained_model import TrainedModel

    Say = Callable[[str], None]

FOLDER = "promotion"
GATE, REASON, REFUSED_FOR = "leadloop.gate", "leadloop.forced_because", "leadloop.refused_for"


@dataclass(frozen=True, slots=True)
class PromotionGate:
    """What a challenger must keep to.

    ``margin`` is the part of the champion's log-loss by which it may be worse; ``slope`` and ``intercept``
    (in log-odds, to either side) bound its calibration, ``error`` the mean distance of forecast and rate.
    Calibration must be off by more than chance does to so many rows; a log-loss speaks for itself, because
    the burden of proof is the challenger's.
    """

    margin: float = 0.005
    slope: tuple[float, float] = (0.8, 1.25)
    intercept: float = 0.25
    error: float = 0.05


@dataclass(frozen=True, slots=True)
class GateDecision:
    """Whether a model may become champion: ``reasons`` speak against it, ``notes`` say what was seen."""

    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def allowed(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.reasons


@dataclass(frozen=True, slots=True)
class PromotionResult:
    """A promotion and what it was decided by; ``forced`` is the reason of who overruled the gate."""

    promotion: Promotion
    verdict: GateDecision
    forced: str | None = None

    def in_words(self) -> Iterator[str]:
        """What the gate saw, what it would have refused for, and who is in charge now, a line each."""
        yield from (f"note: {line}" for line in (*self.verdict.notes, *self.verdict.reasons))
        made = self.promotion
        before = made.replaced or "none"
        yield f"champion is version {made.version} (model {made.model_version}), in place of {before}"

    def to_dict(self) -> dict[str, Any]:
        """As plain values for a script."""
        return asdict(self.promotion) | asdict(self.verdict) | {"forced": self.forced}


class PromotionRefusedError(ValueError):
    """The gate stays shut and the champion in charge; the message says why, and how to overrule it."""


@dataclass(frozen=True, slots=True)
class _Record:
    """What a run left for the decision."""

    evidence: PromotionEvidence
    judged: Path


@dataclass(frozen=True, slots=True)
class _Case:
    """A challenger's record beside the champion's, as far as there are any."""

    challenger: _Record | None
    champion_version: str = ""
    champion: _Record | None = field(default=None)


def save_promotion_evidence(
    fitted: TrainedModel, model: ConversionModel, out: Path, store: Tracking, say: Say
) -> list[Artifact]:
    """Leave what speaks for ``model`` in ``out``, to be logged with its run; no champion can stop a run."""
    try:
        found = collect_evidence(fitted, model, _champion(store))
    except (ValueError, KeyError, OSError, pl.exceptions.PolarsError) as error:
        why = NotComparable("unavailable", f"the champion cannot be asked: {error}")
        found = collect_evidence(fitted, model, why)
    say(in_words(found.comparison or found.not_comparable or no_champion()))
    if found.not_comparable and found.not_comparable.because != "no champion":
        say("`leadloop promote` will compare what both runs said of rows held out from them")
    save_evidence(out, found, held_out_predictions(fitted))
    return _artifacts(out)


def promote_model(
    source: str | Path, *, tracking: Tracking, gate: PromotionGate | None = None, force: str | None = None
) -> PromotionResult:
    """Put a run's model, or a folder's, in charge if the gate lets it, or else for the reason ``force``.

    Raises PromotionRefusedError when it does not; the champion stays.
    """
    if force is not None and not force.strip():
        msg = "--force needs a reason in words; it is kept with the model"
        raise PromotionRefusedError(msg)
    verdict = evaluate_gate(source, tracking=tracking, gate=gate)
    if not verdict.allowed and force is None:
        raise PromotionRefusedError(_refusal(source, verdict))
    forced = None if verdict.allowed else force
    notes = {GATE: "passed"} if forced is None else {GATE: "forced", REASON: forced}
    if forced is not None:
        notes[REFUSED_FOR] = "; ".join(verdict.reasons)
    beside = _artifacts(Path(source).parent) if _left_beside(Path(source)) else []
    made = registry.set_champion(source, tracking=tracking, notes=notes, beside=beside)
    return PromotionResult(made, verdict, forced)


def rollback(*, tracking: Tracking) -> PromotionResult:
    """Put the champion before back in charge, without asking: who rolls back has no time for a gate."""
    return PromotionResult(registry.restore_champion(tracking=tracking), GateDecision())


def evaluate_gate(
    source: str | Path, *, tracking: Tracking, gate: PromotionGate | None = None
) -> GateDecision:
    """What the gate says to making ``source``, a run or a model folder, the champion; nothing is changed."""
    with mlflow_client(tracking) as client:
        run_id = registry.find_run(client, source)
        champion = registry.find_champion(client)
        if champion is not None and champion.run_id == run_id:
            return GateDecision(notes=("it is the champion already",))
        mine = _in(download_run_folder(client, run_id, FOLDER)) if run_id else None
        case = _Case(mine or _left_beside(Path(source)))
        if champion is not None:
            before = str(champion.run_id)
            version = model_version_of(client, before) or "unknown"
            case = _Case(case.challenger, version, _in(download_run_folder(client, before, FOLDER)))
    return _judged(case, gate or PromotionGate())


def decide(
    found: PromotionEvidence, compared: Comparison | NotComparable, gate: PromotionGate
) -> GateDecision:
    """The verdict on a challenger by its evidence and how it compares: pure, so it can be checked here."""
    grave = (f"a check of high severity is open: {name}" for name in found.grave)
    reasons = (*grave, *_uncalibrated(found.standing.calibration, gate), *_worse(compared, gate))
    slope = found.standing.calibration.slope
    seen = f"calibration on {found.rows:,} judged rows: slope {slope.value:.2f}, {_off(found)}"
    return GateDecision(tuple(reasons), (in_words(compared), seen))


def in_words(compared: Comparison | NotComparable) -> str:
    """A comparison in one line."""
    if isinstance(compared, NotComparable):
        return f"not compared with a champion ({compared.because}): {compared.message}"
    mine, theirs = compared.challenger_standing.log_loss, compared.champion_standing.log_loss
    rows = f"{compared.rows:,} {'later' if compared.basis == 'later' else 'held-out'} rows"
    return (
        f"beside champion {compared.champion} on {rows}: log-loss {mine:.4f} against {theirs:.4f}, "
        f"difference {_signed(compared.worse_by)}"
    )


def _judged(case: _Case, gate: PromotionGate) -> GateDecision:
    if case.challenger is None:
        msg = "nothing was kept of how it was judged; train it again with this leadloop"
        return GateDecision((msg,))
    return decide(case.challenger.evidence, _compared(case, case.challenger), gate)


def _compared(case: _Case, mine: _Record) -> Comparison | NotComparable:
    """As compared in training, if with today's champion; else by what both runs said of the same rows."""
    if not case.champion_version:
        return no_champion()
    known = mine.evidence.comparison
    if known is not None and known.champion == case.champion_version:
        return known
    if case.champion is None:
        return NotComparable("unavailable", "the champion's run kept no judged rows")
    theirs = case.champion.evidence
    if theirs.question != mine.evidence.question:
        return NotComparable("other question", f"the champion predicts {theirs.question!r}")
    if theirs.time_ordered != mine.evidence.time_ordered:
        return NotComparable("judged otherwise", "one was judged on later rows, the other on random ones")
    ours, other = (pl.read_parquet(record.judged) for record in (mine, case.champion))
    return compare_held_out(ours, other, case.champion_version)


def _worse(compared: Comparison | NotComparable, gate: PromotionGate) -> Iterator[str]:
    if isinstance(compared, NotComparable):
        if compared.because != "no champion":
            yield f"it cannot be compared with the champion ({compared.because}): {compared.message}"
        return
    allowed = gate.margin * compared.champion_standing.log_loss
    if compared.worse_by.value > allowed:
        chance = "" if compared.worse_by.low > 0 else ", which may be chance"
        yield f"it is worse than the champion by more than {gate.margin:.1%}{chance}: {in_words(compared)}"


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


def _off(found: PromotionEvidence) -> str:
    calibration = found.standing.calibration
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
    if not store.exists:
        return no_champion()
    with mlflow_client(store) as client:
        champion = registry.find_champion(client, NAME)
        return (
            no_champion() if champion is None else artifact.load(registry.download_folder(client, champion))
        )


def _artifacts(out: Path) -> list[Artifact]:
    return [Artifact(out / name, FOLDER) for name in (EVIDENCE, JUDGED)]


def _left_beside(model: Path) -> _Record | None:
    """The record that training left beside a model folder, if it is about the model that is there now."""
    record = _in(model.parent) if model.is_dir() else None
    return record if record and record.evidence.version == artifact.load(model).version else None


def _in(folder: Path | None) -> _Record | None:
    """The record in a folder, if there is one."""
    if folder is None or not (found := folder / EVIDENCE).is_file():
        return None
    return _Record(PromotionEvidence.from_json(found.read_text(encoding="utf-8")), folder / JUDGED)
