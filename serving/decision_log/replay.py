"""The proof of an audit: each logged decision, made once more from the row that was logged with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from serving.decision_log.queries import decisions_of_model

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from models.conversion import ConversionModel
    from models.explanation import Score
    from serving.decision_log.records import Decision


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """How many decisions came out again to the bit, and the ids of those that did not."""

    same: int
    different: tuple[int, ...]


def replay(log: Engine, model: ConversionModel) -> ReplayResult:
    """Recompute every decision of this version of the model, and hold it against what was said."""
    same, different = 0, []
    for decision in decisions_of_model(log, model.version):
        if _said_again(decision, model):
            same += 1
        else:
            different.append(decision.id)
    return ReplayResult(same, tuple(different))


def _said_again(decision: Decision, model: ConversionModel) -> bool:
    score = model.score(decision.row, decision.lead_id, decision.as_of)
    told = ("log_odds", "probability", "points", "grade")
    same = all(getattr(score, name) == getattr(decision, name) for name in told)
    return same and _same_doubt(decision, score) and _same_reasons(decision, model)


def _same_doubt(decision: Decision, score: Score) -> bool:
    """A decision of before doubts were logged has none to compare."""
    code = score.insufficient and score.insufficient.code
    return decision.insufficient is None or code == decision.insufficient


def _same_reasons(decision: Decision, model: ConversionModel) -> bool:
    if decision.reasons is None:
        return True
    explained = model.explain(decision.row, decision.lead_id, decision.as_of)
    again = {reason.feature: reason.contribution for reason in explained.reasons}
    return all(again[reason["feature"]] == reason["contribution"] for reason in decision.reasons)
