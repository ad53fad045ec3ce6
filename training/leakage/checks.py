"""Runs the leakage checks LC001 to LC017 and collects their findings.

A leak is a column that is filled because of the outcome: it makes every offline figure splendid and the model
worthless on an open lead. Each check is triggered, clean, or not applicable with the reason.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal

from features.messages import Message
from training.leakage import (
    column_checks,
    duplicate_checks,
    event_checks,
    shift_checks,
    split_checks,
    value_checks,
)
from training.leakage.column_checks import SEVERITIES, NotApplicableError, Severity
from training.leakage.texts import expand_texts, without_texts

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

    from features.display_names import DisplayNames
    from training.data.dataset import Dataset
    from training.leakage.column_checks import CheckFunction, FindingRows
    from training.leakage.shift_checks import ShiftCheckFunction

Outcome = Literal["triggered", "clean", "not applicable"]
MOST_ROWS = 50_000

# A line names so many of the columns that share a finding, and the number of the others.
_COLUMNS_SHOWN = 3
_HOLDS: dict[Outcome, str] = {"clean": "holds", "triggered": "NOT SO", "not applicable": "not applicable"}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something in the data that a user should look at.

    Attributes:
        code: The check that found it, LC001 to LC017.
        severity: "high", "medium" or "info".
        column: The feature, or "" where it is about all rows.
        message: What was found and, at its end, what to do.
    """

    code: str
    severity: Severity
    column: str
    message: Message


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check.

    Attributes:
        code: LC001 to LC017.
        title: What the check claims.
        findings: What it found; empty where the claim holds.
        reason: Why the check is not applicable to these rows; "" where it is.
    """

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
    """Run every leakage check on the rows that a model is about to learn from.

    Args:
        dataset: The rows to learn from. Checks of columns look at no more than 50,000 of them, evenly spread.
        ahead: Feature rows to score, to be compared with; without any, LC012 and LC013 are not applicable.

    Returns:
        One result per check, in the order of their codes.
    """
    columns = expand_texts(dataset.subsample(MOST_ROWS))
    values = without_texts(dataset)
    sample = values.subsample(MOST_ROWS)
    checks = (
        *(_run_check(code, search, columns) for code, search in CHECKS.items()),
        *(_run_check(code, search, values) for code, search in ORIGINS.items()),
        *(_run_check(code, _with_rows_to_score(search, ahead), sample) for code, search in AHEAD.items()),
    )
    return tuple(sorted(checks, key=lambda check: check.code))


def _with_rows_to_score(search: ShiftCheckFunction, ahead: pl.DataFrame | None) -> CheckFunction:
    """A check that compares with rows to score, as a function of the rows to learn from alone."""

    def compared(dataset: Dataset) -> FindingRows:
        if ahead is None or ahead.is_empty():
            raise NotApplicableError(Message("not_applicable.nothing_ahead"))
        return search(dataset, ahead)

    return compared


def sorted_findings(checks: tuple[Check, ...]) -> tuple[Finding, ...]:
    """Sort the findings of all checks by severity.

    Args:
        checks: The checks, as ``run_checks`` returns them.

    Returns:
        The findings, high before medium before info; those of equal severity in the order of the checks.
    """
    return tuple(
        sorted((f for check in checks for f in check.findings), key=lambda f: SEVERITIES.index(f.severity))
    )


def has_finding(checks: tuple[Check, ...], severity: Severity) -> bool:
    """Whether checks have a finding that is as severe as ``severity``, or more."""
    return any(
        SEVERITIES.index(finding.severity) <= SEVERITIES.index(severity)
        for check in checks
        for finding in check.findings
    )


def format_checks(checks: tuple[Check, ...], names: DisplayNames | None = None) -> Iterator[str]:
    """Format the results of checks for a terminal.

    Args:
        checks: The checks, as ``run_checks`` returns them.
        names: What people call the columns. Default: nothing else.

    Yields:
        One line per check in their order, then one per finding in the order of ``sorted_findings``, without
        line breaks at the end. Columns of which a check says the same share a line.
    """
    for check in checks:
        because = f": {check.reason}" if check.reason else ""
        yield f"{check.code}  {_HOLDS[check.outcome]:14}  {check.title}{because}"
    alike = groupby(sorted_findings(checks), lambda each: (each.code, each.severity, str(each.message)))
    for (code, severity, message), findings in alike:
        columns = [_column_for_people(each.column, names) for each in findings if each.column]
        more = [f"{len(columns) - _COLUMNS_SHOWN} more"] if len(columns) > _COLUMNS_SHOWN else []
        where = f"{', '.join(columns[:_COLUMNS_SHOWN] + more)}: " if columns else ""
        yield f"{code}  {severity:6}  {where}{message}"


def _column_for_people(column: str, names: DisplayNames | None) -> str:
    named = None if names is None else names.texts.get(column)
    return column if named is None else f"{named.en} ({column})"


def to_dict(checks: tuple[Check, ...]) -> dict[str, Any]:
    """Checks and findings as ``check --json`` writes them."""
    return {
        "checks": [
            {"code": check.code, "title": check.title, "outcome": check.outcome, "reason": check.reason}
            for check in checks
        ],
        "findings": [asdict(finding) for finding in sorted_findings(checks)],
    }


def _run_check(code: str, search: CheckFunction, dataset: Dataset) -> Check:
    title = Message(f"checks.{code}")
    try:
        return Check(code, title, tuple(Finding(code, *row) for row in search(dataset)))
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
    "LC017": event_checks.events_move_with_outcome,
}
AHEAD: dict[str, ShiftCheckFunction] = {
    "LC012": shift_checks.unseen_categories,
    "LC013": shift_checks.covariate_shift,
}
