"""The history of a company's leads: who they were, what they did, which stages they entered."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import narwhals.stable.v2 as nw
import polars as pl

from features.clock import to_datetime
from features.notebook_html import html_card, html_table

if TYPE_CHECKING:
    from collections.abc import Callable

TOUCHPOINT_SCHEMA = {
    "lead_id": pl.String,
    "occurred_at": pl.Int64,
    "known_at": pl.Int64,
    "kind": pl.String,
    "channel": pl.String,
    "campaign": pl.String,
    "offer": pl.String,
    "offer_stage": pl.String,
    "amount": pl.Int64,
    "seconds": pl.Int64,
}
TRANSITION_SCHEMA = {
    "lead_id": pl.String,
    "occurred_at": pl.Int64,
    "known_at": pl.Int64,
    "stage": pl.String,
    "reason": pl.String,
}
ATTRIBUTE_SCHEMA = {
    "lead_id": pl.String,
    "known_at": pl.Int64,
    "name": pl.String,
    "value": pl.String,
    "number": pl.Float64,
}
ACCOUNT_SCHEMA = {"account_id": pl.String}
# Of leads only where a CRM took them over later than they came to be.
LEAD_KNOWN_AT = "known_at"
LEAD_SCHEMA = {"lead_id": pl.String, "created_at": pl.Int64, "account_id": pl.String}
ACCOUNT_PREFIX = "account."
_MAX_WORDS = 6


@dataclass(frozen=True)
class LeadHistory:
    """Everything a CRM knows of its leads. Times are epoch seconds, money is minor units.

    A plain column of ``leads`` is a claim that its value was known when the lead was created; what the CRM
    overwrites belongs into ``attributes``. Frames are Polars unless a caller put those of another library in.

    Attributes:
        leads: One row a lead: ``lead_id``, ``created_at``, ``account_id`` and a column per plain attribute
            (Float64 for numbers and flags, String for categories). A column ``known_at`` says when the CRM
            learned of the lead, where that was later than its creation.
        touchpoints: One row for each thing a lead did or received, in ``TOUCHPOINT_SCHEMA``.
        transitions: One row for each stage entered, in ``TRANSITION_SCHEMA``.
        observed_until: The end of observation (exclusive): nothing at or after it is known.
        attributes: One row a change of an overwritten attribute, in ``ATTRIBUTE_SCHEMA``. Default none.
        accounts: One row an account: ``account_id`` and a column per plain attribute. Default none.
    """

    leads: pl.DataFrame
    touchpoints: pl.DataFrame
    transitions: pl.DataFrame
    observed_until: int
    attributes: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=ATTRIBUTE_SCHEMA))
    accounts: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=ACCOUNT_SCHEMA))

    @classmethod
    def from_leads(cls, leads: pl.DataFrame, observed_until: int) -> LeadHistory:
        """Make a history without events, as a flat export is one.

        Args:
            leads: At least ``lead_id``; its other columns are plain attributes. Absent columns of
                ``LEAD_SCHEMA`` are added as nulls.
            observed_until: The end of observation in epoch seconds (exclusive).

        Returns:
            The history, with empty tables of events.
        """
        missing = [
            pl.lit(None, dtype).alias(name)
            for name, dtype in LEAD_SCHEMA.items()
            if name not in leads.columns
        ]
        return cls(
            leads=leads.with_columns(missing),
            touchpoints=pl.DataFrame(schema=TOUCHPOINT_SCHEMA),
            transitions=pl.DataFrame(schema=TRANSITION_SCHEMA),
            observed_until=observed_until,
        )

    @property
    def lead_columns(self) -> list[str]:
        """Names of the plain attributes of a lead, its account's with the prefix ``account.``."""
        lead_names = [name for name in self.leads.columns if name not in {*LEAD_SCHEMA, LEAD_KNOWN_AT}]
        account_names = [ACCOUNT_PREFIX + name for name in self.accounts.columns if name != "account_id"]
        return lead_names + account_names

    @property
    def lead_known_at(self) -> pl.Expr:
        """The second in which the CRM knew of each of ``leads``: ``known_at``, or else its creation."""
        if LEAD_KNOWN_AT not in self.leads.columns:
            return pl.col("created_at")
        return pl.max_horizontal("created_at", LEAD_KNOWN_AT)

    def map_frames(self, convert: Callable[[Any], Any]) -> LeadHistory:
        """The same history with every frame put through ``convert``, e.g. into another engine."""
        frames = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "observed_until"}
        return replace(self, **{name: convert(frame) for name, frame in frames.items()})

    def known_before(self, moment: int) -> LeadHistory:
        """The history without every row known at or after ``moment`` (epoch seconds)."""
        return replace(
            self,
            leads=self.leads.filter(self.lead_known_at < moment),
            touchpoints=self.touchpoints.filter(pl.col("known_at") < moment),
            transitions=self.transitions.filter(pl.col("known_at") < moment),
            attributes=self.attributes.filter(pl.col("known_at") < moment),
            observed_until=min(moment, self.observed_until),
        )

    def __repr__(self) -> str:
        return (
            f"LeadHistory({self.leads.shape[0]:,} leads, {self.touchpoints.shape[0]:,} touchpoints, "
            f"{self.transitions.shape[0]:,} transitions, observed until {self._observed_until_text})"
        )

    def _repr_html_(self) -> str:
        names = [f.name for f in fields(self) if f.name != "observed_until"]
        rows = [
            (name, f"{(frame := getattr(self, name)).shape[0]:,}", *_summarise_table(frame)) for name in names
        ]
        return html_card(
            "LeadHistory",
            f"what the CRM knew before {self._observed_until_text} (UTC)",
            html_table(("table", "rows", "from", "to", "what is in it"), rows),
        )

    @property
    def _observed_until_text(self) -> str:
        return f"{to_datetime(self.observed_until):%Y-%m-%d %H:%M}"


def _summarise_table(frame: Any) -> tuple[str, str, str]:
    """First day, last day and frequent values of a table of a history, for notebooks."""
    rows = nw.from_native(frame).lazy().collect()
    time = next((name for name in ("occurred_at", "created_at", "known_at") if name in rows.columns), None)
    column = next((name for name in ("kind", "stage", "name") if name in rows.columns), None)
    first, last = (None, None) if time is None or not len(rows) else (rows[time].min(), rows[time].max())
    days = ("" if moment is None else f"{to_datetime(int(moment)):%Y-%m-%d}" for moment in (first, last))
    return (*days, _attribute_names(rows) if column is None else _frequent_words(rows[column]))  # type: ignore[return-value]


def _attribute_names(rows: nw.DataFrame[Any]) -> str:
    return ", ".join(name for name in rows.columns if not name.endswith(("_id", "_at"))) or "no attributes"


def _frequent_words(column: nw.Series[Any]) -> str:
    """The most frequent words of a column with their counts."""
    counted = column.drop_nulls().value_counts(sort=True)
    frequent = [f"{word} {count:,}" for word, count in counted.head(_MAX_WORDS).iter_rows()]
    return ", ".join(frequent) + (
        f" and {len(counted) - _MAX_WORDS} more" if len(counted) > _MAX_WORDS else ""
    )
