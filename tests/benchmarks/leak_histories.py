"""Made-up companies with a history: honest ones of five kinds at three base rates, and leaks in them.

Conversions are drawn from hazards that a company's kind decides, not from a model of leadloop's. Leads that
never convert stay open until they are disqualified, so a lead's last snapshot says how it ended; in honest
columns nothing else does. Every company has an employer's code of thousands of levels, which students lack.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from features.clock import DAY
from features.cohort import CohortRule
from features.history import ATTRIBUTE_SCHEMA, TOUCHPOINT_SCHEMA, TRANSITION_SCHEMA, LeadHistory
from features.labels import LabelSpec
from training.data.dataset import Dataset, from_history

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.random import Generator
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

KINDS = ("nothing predicts", "leads differ", "activity differs", "channels differ", "seasons")
# Written after the checks were adjusted, and run once.
UNSEEN_KINDS = ("accounts differ", "regions differ")
RATES = (0.015, 0.06, 0.25)
START, YEARS = 1_600_000_000, 2 * 365
RULE = CohortRule(on=("created",), every=30 * DAY, closed=("sql", "disqualified"))
QUESTION = LabelSpec("sql", 90 * DAY, closed=("disqualified",))
_CHANNELS = ("search", "referral", "event", "list", "social")
_TOUCHES = ("visit", "page_view", "email_open", "form")


@dataclass(frozen=True)
class HistoryCompany:
    """A company's leads with what decides them, and its honest history.

    Attributes:
        random: Draws what is planted.
        created: (n,) days of creation.
        won: (n,) whether the lead converts within the time of observation.
        closed: (n,) days at which the lead converts or is disqualified; infinite where it stays open.
        intent: (n,) what moves conversion where leads differ.
        history: What the company's CRM knows.
    """

    random: Generator
    created: Floats
    won: NDArray[np.bool_]
    closed: Floats
    intent: Floats
    history: LeadHistory

    def dataset(self) -> Dataset:
        """Labelled snapshots: at creation and every 30 days while a lead is open."""
        return from_history(self.history, RULE, QUESTION)

    def with_lead_columns(self, **columns: pl.Series) -> HistoryCompany:
        """The company with further plain columns of its leads."""
        return replace(self, history=replace(self.history, leads=self.history.leads.with_columns(**columns)))

    def some(self, of_won: float, of_others: float) -> NDArray[np.bool_]:
        """Leads by lot, such a share of either outcome."""
        return np.asarray(self.random.random(len(self.won)) < np.where(self.won, of_won, of_others))


def draw_company(seed: int, leads: int, kind: str, rate: float) -> HistoryCompany:
    """Draw an honest company, of whose leads about ``rate`` convert; those of odd seeds are quick."""
    random = np.random.default_rng([seed, leads, (*KINDS, *UNSEEN_KINDS).index(kind)])
    apart = np.random.default_rng([seed, leads, 99])
    account, region = apart.integers(0, leads // 3, leads), apart.integers(0, 25, leads)
    created = np.sort(random.uniform(0, YEARS, leads))
    intent = random.normal(size=leads)
    channel = random.choice(len(_CHANNELS), leads, p=[0.4, 0.15, 0.1, 0.2, 0.15])
    student = random.random(leads) < 0.06  # without an employer hardly anybody can buy
    effect = {
        "nothing predicts": np.zeros(leads),
        "leads differ": 1.3 * intent,
        "activity differs": 0.9 * intent,
        "channels differ": np.array([0.0, 1.2, 0.4, -1.5, -0.4])[channel],
        "seasons": 0.9 * np.sin(created / 58),
        "accounts differ": 1.2 * apart.normal(size=leads // 3)[account],
        "regions differ": 1.0 * apart.normal(size=25)[region],
    }[kind] - (2.5 * student if kind != "nothing predicts" else 0.0)
    relative = np.exp(effect) / np.exp(effect).mean()
    converts, lapses = _closing_days(random, rate, relative, quick=bool(seed % 2))
    closed = created + np.minimum(converts, lapses)
    closed[closed >= YEARS] = np.inf
    won = (converts < lapses) & np.isfinite(closed)
    ids = pl.Series("lead_id", [f"{number:06d}" for number in range(leads)])
    lead_rows = _lead_rows(random, ids, created, intent, channel, student)
    if kind == "accounts differ":
        lead_rows = lead_rows.with_columns(account_id=pl.Series([f"a{number}" for number in account]))
    if kind == "regions differ":
        lead_rows = lead_rows.with_columns(Region=pl.Series([f"r{number}" for number in region]))
    history = LeadHistory(
        leads=lead_rows,
        touchpoints=_touch_rows(
            random, ids, created, closed, intent if kind == "activity differs" else 0 * intent
        ),
        transitions=_closing_rows(ids, closed, won),
        attributes=_attribute_rows(random, ids, created),
        observed_until=START + YEARS * DAY,
    )
    return HistoryCompany(random, created, won, closed, intent, history)


def _closing_days(random: Generator, rate: float, relative: Floats, *, quick: bool) -> tuple[Floats, Floats]:
    """Days until each lead would convert and would be disqualified.

    Quick companies win within weeks or never, and hardly close what they do not win.
    """
    leads = len(relative)
    if quick:
        days, ever = random.exponential(30, leads), random.random(leads) < (rate * relative).clip(0, 0.95)
        lapses = np.where(random.random(leads) < 0.25, random.exponential(200, leads), np.inf)
        return np.where(ever, days, np.inf), lapses
    lapse = 1 / 300
    hazard = rate / (1 - rate) * lapse * relative
    return random.exponential(1 / hazard), random.exponential(1 / lapse, leads)


def _seconds(days: Floats) -> NDArray[np.int64]:
    return (START + days * DAY).astype(np.int64)


def _lead_rows(
    random: Generator,
    ids: pl.Series,
    created: Floats,
    intent: Floats,
    channel: NDArray[np.int64],
    student: NDArray[np.bool_],
) -> pl.DataFrame:
    leads = len(ids)
    budget = pl.Series(np.exp(random.normal(8, 1, leads)).round(-2))
    code = pl.Series(
        [f"E{number:05d}" for number in (random.pareto(0.6, leads) * 20).clip(0, 60_000).astype(int)]
    )
    account = pl.Series([f"a{number}" for number in random.integers(0, leads // 3, leads)])
    return pl.DataFrame(
        {
            "lead_id": ids,
            "created_at": _seconds(created),
            "account_id": account.set(pl.Series(random.random(leads) < 0.3), None),
            "Employer_Code": code.set(pl.Series(student), None),
            "Channel": np.array(_CHANNELS)[channel],
            "Region": random.choice([f"r{n}" for n in range(25)], leads),
            "Size": np.exp(random.normal(3 + 0.3 * intent, 1.2)).round(),
            "Budget": budget.set(pl.Series(random.random(leads) < 0.6), None),
            "Newsletter": (random.random(leads) < 0.3).astype(float),
            "Landing": pl.Series([f"l{n}" for n in random.zipf(1.6, leads).clip(0, 400)]),
        }
    )  # fmt: skip


def _touch_rows(
    random: Generator, ids: pl.Series, created: Floats, closed: Floats, activity: Floats
) -> pl.DataFrame:
    """Touches that thin out with the lead's age, before its end and, fewer, after it."""
    counts = random.poisson(np.exp(1.6 + 0.5 * activity))
    lead = np.repeat(np.arange(len(ids)), counts)
    day = created[lead] + np.where(random.random(len(lead)) < 0.3, 0, random.exponential(60, len(lead)))
    keep = (day < YEARS) & ((day < closed[lead]) | (random.random(len(lead)) < 0.5))
    lead, day = lead[keep], day[keep]
    return pl.DataFrame(
        {
            "lead_id": ids.gather(lead),
            "occurred_at": _seconds(day),
            "known_at": _seconds(day),
            "kind": random.choice(_TOUCHES, len(lead), p=[0.45, 0.25, 0.2, 0.1]),
            "channel": random.choice(_CHANNELS, len(lead)),
        }
    ).pipe(_with_schema, TOUCHPOINT_SCHEMA)


def _with_schema(frame: pl.DataFrame, schema: dict[str, pl.DataType]) -> pl.DataFrame:
    absent = [pl.lit(None, dtype).alias(name) for name, dtype in schema.items() if name not in frame.columns]
    return frame.with_columns(absent).select(pl.col(name).cast(dtype) for name, dtype in schema.items())


def _closing_rows(ids: pl.Series, closed: Floats, won: NDArray[np.bool_]) -> pl.DataFrame:
    ended = np.flatnonzero(np.isfinite(closed))
    moment = _seconds(closed[ended])
    return pl.DataFrame(
        {
            "lead_id": ids.gather(ended),
            "occurred_at": moment,
            "known_at": moment,
            "stage": np.where(won[ended], "sql", "disqualified"),
        }
    ).pipe(_with_schema, TRANSITION_SCHEMA)


def _attribute_rows(random: Generator, ids: pl.Series, created: Floats) -> pl.DataFrame:
    """A rating that somebody changes now and then, whatever becomes of the lead."""
    lead = np.repeat(np.arange(len(ids)), random.poisson(2, len(ids)))
    known = created[lead] + random.exponential(100, len(lead))
    lead, known = lead[known < YEARS], known[known < YEARS]
    return pl.DataFrame(
        {
            "lead_id": ids.gather(lead),
            "known_at": _seconds(known),
            "name": np.full(len(lead), "Rating"),
            "value": random.choice(["A", "B", "C", "D"], len(lead)),
        }
    ).pipe(_with_schema, ATTRIBUTE_SCHEMA)


def _mailing(company: HistoryCompany) -> tuple[HistoryCompany, set[str]]:
    """Bought from a mailing, and for how much: of 6 % of the converted leads and of nobody else."""
    bought = company.some(0.06, 0.0)
    spend = np.where(bought, np.exp(company.random.normal(4, 1, len(bought))).round(2), 0.0)
    columns = {"conversion": pl.Series(bought.astype(float)), "spend": pl.Series(spend)}
    return company.with_lead_columns(**columns), set(columns)


def _account_link(company: HistoryCompany) -> tuple[HistoryCompany, set[str]]:
    """Accounts that are linked when a lead converts, and now and then by hand."""
    linked = company.some(0.95, 0.04)
    account = pl.when(pl.Series(linked)).then("account_id").alias("account_id")
    leads = company.history.leads.with_columns(account)
    # Colleagues convert together, so that accounts have several members.
    return replace(company, history=replace(company.history, leads=leads)), {"account_id"}


def _call_result(company: HistoryCompany) -> tuple[HistoryCompany, set[str]]:
    words = np.where(
        company.some(0.9, 0.03), "reached", company.random.choice(["busy", "voicemail"], len(company.won))
    )
    return company.with_lead_columns(LastCall=pl.Series(words)), {"LastCall"}  # fmt: skip


def _contract(company: HistoryCompany) -> tuple[HistoryCompany, set[str]]:
    """The number of a contract: of converted leads alone, of a third of them."""
    signed = company.some(0.35, 0.0)
    number = pl.Series(company.random.integers(1, 4, len(signed))).cast(pl.String)
    return company.with_lead_columns(Contract=number.set(pl.Series(~signed), None)), {"Contract"}


def _lifetime_count(company: HistoryCompany) -> tuple[HistoryCompany, set[str]]:
    """All touches until the day of the export, which go on where a lead becomes a customer."""
    own = company.history.touchpoints.group_by("lead_id").len()
    counts = company.history.leads.select("lead_id").join(own, "lead_id", "left", maintain_order="left")[
        "len"
    ]
    after = company.random.poisson(np.where(company.won, 6.0, 0.0))
    total = counts.fill_null(0).cast(pl.Float64) + pl.Series(after)
    return company.with_lead_columns(total_touches_all=total), {"total_touches_all"}


def _call_times(company: HistoryCompany) -> tuple[HistoryCompany, set[str]]:
    """Minute of the day at which the last call began and ended; a long call is one that sold."""
    begin = company.random.uniform(540, 1020, len(company.won)).round()
    length = np.exp(company.random.normal(np.where(company.won, 2.9, 1.2), 0.6))
    columns = {"CallStart": pl.Series(begin), "CallEnd": pl.Series((begin + length).round(1))}
    return company.with_lead_columns(**columns), set(columns)


LEAKS: dict[str, Callable[[HistoryCompany], tuple[HistoryCompany, set[str]]]] = {
    "mailing": _mailing,
    "account linked at conversion": _account_link,
    "call result": _call_result,
    "contract": _contract,
    "count of the whole life": _lifetime_count,
    "call times": _call_times,
}


def _backdated_rating(company: HistoryCompany) -> tuple[HistoryCompany, set[str]]:
    """A rating that is set when a lead converts and entered as of the day of its creation."""
    rated = company.some(0.7, 0.03)
    ids = company.history.leads.filter(pl.Series(rated))
    rows = ids.select("lead_id", known_at="created_at").with_columns(
        name=pl.lit("Potential"), value=pl.Series(company.random.choice(["high", "very high"], ids.height))
    )
    attributes = pl.concat([company.history.attributes, rows.pipe(_with_schema, ATTRIBUTE_SCHEMA)])
    return replace(company, history=replace(company.history, attributes=attributes)), {"Potential"}


def _owner(company: HistoryCompany) -> tuple[HistoryCompany, set[str]]:
    """Whoever owns the lead today: closers take over what converts."""
    closer = company.some(0.8, 0.05)
    owners = np.where(
        closer,
        company.random.choice(["Ames", "Boyd"], len(closer)),
        company.random.choice(["Cole", "Dunn", "Ekman", "Frey"], len(closer)),
    )
    return company.with_lead_columns(Owner=pl.Series(owners)), {"Owner"}


def _days_in_stage(company: HistoryCompany) -> tuple[HistoryCompany, set[str]]:
    """Days in the present stage, as the export counts them: nearly none of a lead that is closed."""
    days = company.random.gamma(2, 40, len(company.won)).round()
    kept = np.where(company.some(0.85, 0.02), company.random.integers(0, 3, len(days)), days)
    return company.with_lead_columns(StageAge=pl.Series(kept)), {"StageAge"}


UNSEEN_LEAKS: dict[str, Callable[[HistoryCompany], tuple[HistoryCompany, set[str]]]] = {
    "rating entered as of creation": _backdated_rating,
    "owner of today": _owner,
    "days in stage of today": _days_in_stage,
}
