"""Replays logged decisions from their logged feature rows, to audit them."""

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
    """How many decisions are equal to the bit, and the ids of those that are not."""

    same: int
    different: tuple[int, ...]


def replay(log: Engine, model: ConversionModel) -> ReplayResult:
    """Recompute every decision of one model version, and compare it with the log.

    Log-odds, probability, points, grade, the code of insufficiency and the logged reasons must be equal to
    the bit.

    Args:
        log: An open log.
        model: The model; only decisions of its version are replayed.

    Returns:
        How many decisions are equal, and the ids of those that differ.
    """
    same, different = 0, []
    for decision in decisions_of_model(log, model.version):
        if _same_decision(decision, model):
            same += 1
        else:
            different.append(decision.id)
    return ReplayResult(same, tuple(different))


def _same_decision(decision: Decision, model: ConversionModel) -> bool:
    score = model.score(decision.row, decision.lead_id, decision.as_of)
    fields = ("log_odds", "probability", "points", "grade")
    same = all(getattr(score, name) == getattr(decision, name) for name in fields)
    return same and _same_insufficiency(decision, score) and _same_reasons(decision, model)


def _same_insufficiency(decision: Decision, score: Score) -> bool:
    """Whether the codes are equal; decisions from before codes were logged have none to compare.

    That a request told nothing of the account is in no feature row.
    """
    code = score.insufficient and score.insufficient.code
    if decision.insufficient == "no_account":
        return code is None
    return decision.insufficient is None or code == decision.insufficient


def _same_reasons(decision: Decision, model: ConversionModel) -> bool:
    if decision.reasons is None:
        return True
    explained = model.explain(decision.row, decision.lead_id, decision.as_of)
    contributions = {reason.feature: reason.contribution for reason in explained.reasons}
    return all(contributions[reason["feature"]] == reason["contribution"] for reason in decision.reasons)
