"""Accounts with several active leads, ranked by the probability that at least one of them converts.

Colleagues are not independent: they share what speaks for the account. ``1 - (1 - p1)(1 - p2)...`` over its
active leads is an upper bound under positive dependence, the largest single probability a lower one in any
case (Frechet 1935). In between it is as the dependence says that was measured, see ``models.account_chance``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import polars as pl

from features.catalogue import REQUESTS
from features.clock import DAY
from features.cohort import Snapshots
from models.account_chance import chance_of_any
from training.analysis.not_applicable import NotApplicable
from training.data.dataset import compute_feature_rows

if TYPE_CHECKING:
    from features.history import LeadHistory
    from models.account_chance import AccountDependence
    from training.analysis.inputs import ReportInput
    from training.analysis.stage_entries import StageEntries

# Days within which a lead must have been active.
RECENT = 30
SHOWN = 20
_MIN_LEADS = 2


@dataclass(frozen=True, slots=True)
class AccountScore:
    """An account with several active leads.

    Attributes:
        account: Its id.
        leads: Number of active leads.
        lead: The active lead with the highest probability.
        best: That probability.
        at_least_one: Probability that at least one converts, if leads were independent.
        touches: Touchpoints of all its leads in the last ``RECENT`` days.
        requests: Those of them that are requests.
        quiet: Days since the last touchpoint or creation of a lead.
        won: Leads that entered the target before.
        chance: Probability that at least one converts, by the measured dependence of colleagues; None where
            it was not measured.
    """

    account: str
    leads: int
    lead: str
    best: float
    at_least_one: float
    touches: int
    requests: int
    quiet: int
    won: int
    chance: float | None = None


@dataclass(frozen=True, slots=True)
class Accounts:
    """The accounts with more than one active lead that are likeliest to convert.

    A lead is active if it is open and was created, or had a touchpoint, in the last ``days``.

    Attributes:
        target: The stage whose entry is predicted.
        horizon: Within so many seconds.
        days: Length of the activity window.
        active: Number of active leads.
        known: Those of them whose account is known.
        several: Accounts with more than one active lead.
        together: Active leads in these accounts.
        accounts: The likeliest ``SHOWN`` of them.
        correlation: How alike colleagues are, as it was measured; None where it was not.
    """

    target: str
    horizon: int
    days: int
    active: int
    known: int
    several: int
    together: int
    accounts: tuple[AccountScore, ...]
    correlation: float | None = None


def accounts(inputs: ReportInput) -> Accounts | NotApplicable:
    """Score the accounts of a report's history as of its end, with the report's model."""
    entries = inputs.all_stage_entries
    if isinstance(entries, NotApplicable):
        return entries
    if entries.history.leads["account_id"].is_null().all():
        return NotApplicable("no_accounts")
    if inputs.model is None:
        return NotApplicable("no_model")
    active = active_leads(entries)
    several = accounts_with_several_leads(active)
    today = several.select("lead_id", as_of=pl.lit(entries.until, pl.Int64))
    history = _history_of_accounts(entries.history, several["account_id"])
    rows = compute_feature_rows(inputs.model.features, history, Snapshots(today))
    dependence = inputs.model.account_dependence
    return accounts_from_entries(entries, active, inputs.model.score_frame(rows), dependence)


def _history_of_accounts(history: LeadHistory, accounts: pl.Series) -> LeadHistory:
    """The leads of ``accounts`` with their events: features of whole accounts need no other leads."""
    leads = history.leads.filter(pl.col("account_id").is_in(accounts.unique().implode()))
    names = ("touchpoints", "transitions", "attributes")
    events = {name: getattr(history, name).join(leads, on="lead_id", how="semi") for name in names}
    return replace(history, leads=leads, **events)


def accounts_from_entries(
    entries: StageEntries,
    active: pl.DataFrame,
    scores: pl.DataFrame,
    dependence: AccountDependence | None = None,
) -> Accounts:
    """Score accounts.

    Args:
        entries: All leads.
        active: ``lead_id`` and ``account_id`` of the active ones.
        scores: ``lead_id`` and ``probability`` of those with active colleagues.
        dependence: How alike colleagues are. Default: not measured.
    """
    scored = accounts_with_several_leads(active).join(scores.select("lead_id", "probability"), on="lead_id")
    companies = _score_accounts(scored, dependence).join(
        _account_activity(entries), on="account_id", how="left"
    )
    by = ["chance", "at_least_one", "best", "account_id"]
    best = companies.sort(by, descending=[True, True, True, False], nulls_last=True).head(SHOWN)
    rows = best.rename({"account_id": "account"}).iter_rows(named=True)
    return Accounts(
        target=entries.spec.stage,
        horizon=entries.spec.horizon,
        days=RECENT,
        active=active.height,
        known=int(active["account_id"].is_not_null().sum()),
        several=companies.height,
        together=scored.height,
        accounts=tuple(AccountScore(**row) for row in rows),
        correlation=None if dependence is None else dependence.correlation,
    )


def active_leads(entries: StageEntries) -> pl.DataFrame:
    """Select ``lead_id`` and ``account_id`` of open leads created or active in the last ``RECENT`` days."""
    since = entries.until - RECENT * DAY
    leads = pl.DataFrame(
        {"lead_id": entries.lead_id, "open": ~entries.won & ~entries.lost, "created": entries.created}
    )
    recent = _recent_touchpoints(entries).select("lead_id").unique().with_columns(seen=True)
    open_leads = leads.filter("open").join(recent, on="lead_id", how="left", maintain_order="left")
    active = open_leads.filter((pl.col("created") >= since) | pl.col("seen").is_not_null())
    accounts_of = entries.history.leads.select("lead_id", "account_id")
    return active.select("lead_id").join(accounts_of, on="lead_id", maintain_order="left")


def accounts_with_several_leads(active: pl.DataFrame) -> pl.DataFrame:
    """Select the ``active`` leads whose account has another active lead."""
    known = active.filter(pl.col("account_id").is_not_null())
    return known.filter(pl.len().over("account_id") >= _MIN_LEADS)


def _score_accounts(scored: pl.DataFrame, dependence: AccountDependence | None) -> pl.DataFrame:
    p = pl.col("probability")
    ranked = scored.sort(["probability", "lead_id"], descending=[True, False])
    companies = ranked.group_by("account_id", maintain_order=True).agg(
        pl.len().alias("leads"),
        lead=pl.col("lead_id").first(),
        best=p.first(),
        at_least_one=1 - (1 - p).product(),
        probabilities=p,
    )
    chances = [
        None if dependence is None else chance_of_any(each, dependence.correlation)
        for each in companies["probabilities"].to_list()
    ]
    return companies.drop("probabilities").with_columns(pl.Series("chance", chances, pl.Float64))


def _account_activity(entries: StageEntries) -> pl.DataFrame:
    """Per account, the recent touchpoints of all its leads, and how many of them had entered the target."""
    touched = (
        _recent_touchpoints(entries)
        .group_by("lead_id")
        .agg(touches=pl.len(), requests=pl.col("kind").is_in(REQUESTS).sum(), last=pl.col("moment").max())
    )
    leads = pl.DataFrame({"lead_id": entries.lead_id, "won": entries.won, "created": entries.created})
    members = entries.history.leads.select("lead_id", "account_id").drop_nulls().join(leads, on="lead_id")
    newest = pl.max_horizontal("last", "created").max()
    return (
        members.join(touched, on="lead_id", how="left")
        .group_by("account_id")
        .agg(pl.col("touches", "requests", "won").sum(), quiet=(entries.until - newest) // DAY)
    )


def _recent_touchpoints(entries: StageEntries) -> pl.DataFrame:
    """``lead_id``, ``kind`` and ``moment`` of touchpoints the CRM learned of in the last ``RECENT`` days."""
    moment = pl.max_horizontal("occurred_at", "known_at")
    known = entries.history.touchpoints.lazy().select("lead_id", "kind", moment=moment)
    return known.filter(
        pl.col("moment") >= entries.until - RECENT * DAY, pl.col("moment") < entries.until
    ).collect()
