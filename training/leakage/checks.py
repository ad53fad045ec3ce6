"""Looks for leaks and nonsense before a model learns them, and says so with a code, a column and what to do.

A leak is a column that is filled because of the outcome: it makes every offline figure splendid and the model
worthless on an open lead. Each check is triggered, clean, or not applicable with the reason.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from features.messages import Message
from training.leakage import column_checks, duplicate_checks, shift_checks, split_checks, value_checks
from training.leakage.column_checks import NotApplicableError, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

    from training.data.dataset import Dataset
    from training.leakage.column_checks import CheckFunction, FindingRows
    from training.leakage.shift_checks import ShiftCheckFunction

Outcome = Literal["triggered", "clean", "not applicable"]
MOST_ROWS = 50_000

_HOLDS: dict[Outcome, str] = {"clean": "holds", "triggered": "NOT SO", "not applicable": "not applicable"}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something in the data that a user should look at. ``message`` ends with what to do."""

    code: str
    severity: Severity
    column: str
    message: Message


@dataclass(frozen=True, slots=True)
class Check:
    """What one check came to; ``reason`` says why it could not be made where it is not applicable."""

    code: str
    title: Message
    findings: tuple[Finding, ...] = ()
    reason: Message | Literal[""] = ""

    @property
    def outcome(self) -> Outcome:
        """Triggered, clean or not applicable."""
        if self.reason:
            return "not applicable"
        return "triggered" if self.findings else "clean"


def run_checks(dataset: Dataset, ahead: pl.DataFrame | None = None) -> tuple[Check, ...]:
    """Every check on the rows that a model is about to learn from; of very many, on as many as settle it.

    ``ahead`` are feature rows to score; without any, what compares with them is not applicable.
    """
    sample = dataset.subsample(MOST_ROWS)
    made = (
        *(_made(code, search, sample) for code, search in CHECKS.items()),
        *(_made(code, search, dataset) for code, search in ORIGINS.items()),
        *(_made(code, _ahead(search, ahead), sample) for code, search in AHEAD.items()),
    )
    return tuple(sorted(made, key=lambda check: check.code))


def _ahead(search: ShiftCheckFunction, ahead: pl.DataFrame | None) -> CheckFunction:
    """A search that compares with rows to score, as one of the rows that teach alone."""

    def compared(dataset: Dataset) -> FindingRows:
        if ahead is None or ahead.is_empty():
            raise NotApplicableError(Message("not_applicable.nothing_ahead"))
        return search(dataset, ahead)

    return compared


def sorted_findings(made: tuple[Check, ...]) -> tuple[Finding, ...]:
    """All that the checks found, the gravest first."""
    rank: list[Severity] = ["high", "medium", "info"]
    return tuple(sorted((f for check in made for f in check.findings), key=lambda f: rank.index(f.severity)))


def format_checks(made: tuple[Check, ...]) -> Iterator[str]:
    """A line for what each check claims and whether it holds, then a line a finding."""
    for check in made:
        because = f": {check.reason}" if check.reason else ""
        yield f"{check.code}  {_HOLDS[check.outcome]:14}  {check.title}{because}"
    for one in sorted_findings(made):
        yield f"{one.code}  {one.severity:6}  {one.column or 'all columns'}: {one.message}"


def to_dict(made: tuple[Check, ...]) -> dict[str, Any]:
    """Checks and findings as plain values."""
    return {
        "checks": [
            {"code": check.code, "title": check.title, "outcome": check.outcome, "reason": check.reason}
            for check in made
        ],
        "findings": [asdict(one) for one in sorted_findings(made)],
    }


def _made(code: str, search: CheckFunction, dataset: Dataset) -> Check:
    title = Message(f"checks.{code}")
    try:
        return Check(code, title, tuple(Finding(code, *found) for found in search(dataset)))
    except NotApplicableError as error:
        return Check(code, title, reason=error.reason)


CHECKS: dict[str, CheckFunction] = {
    "LC001": column_checks.single_column_auc_check,
    "LC002": column_checks.missingness_by_outcome,
    "LC003": column_checks.dominant_column,
    "LC004": column_checks.post_outcome_name,
    "LC005": column_checks.missingness_by_time,
    "LC006": column_checks.constant_column,
    "LC007": column_checks.time_order_unknown,
    "LC008": column_checks.immature_outcomes,
    "LC015": value_checks.value_determines_outcome,
    "LC016": value_checks.pair_determines_outcome,
}
# These look at whole leads, accounts and histories, of which a sample of rows would lose the companions.
ORIGINS: dict[str, CheckFunction] = {
    "LC009": split_checks.stage_proxy,
    "LC010": split_checks.group_overlap,
    "LC011": split_checks.future_information,
    "LC014": duplicate_checks.duplicate_leads,
}
AHEAD: dict[str, ShiftCheckFunction] = {
    "LC012": shift_checks.unseen_categories,
    "LC013": shift_checks.covariate_shift,
}
