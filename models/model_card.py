"""The model card: what a model was trained on and how good it is, saved with it."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from typing import Any

from features.number_marks import NumberMarks
from features.spec import DisplayText
from models.drift import ReferenceDistribution
from models.metrics import Interval

SCORE = "log_odds"
INTENDED_USE = (
    "To put open leads in the order in which sales should call them, and to say why. Not for decisions about "
    "a person that have legal or similar effects, nor for leads unlike those it learned from."
)
LIMITS = (
    "It repeats what was true of past leads; when offers, channels or sales practice change, train it again.",
    (
        "Only leads that sales worked on can show an outcome; of leads like those that nobody contacted it "
        "says less than it seems."
    ),
    "Reasons are associations. They do not say what happens if somebody changes something.",
)

_QUESTION = re.compile(r"(.+) within [\d.]+ days")


@dataclass(frozen=True)
class ModelCard:
    """What a model was trained on, how good it is and what it is for (Mitchell et al. 2019).

    Attributes:
        label: The outcome in words, such as "sql within 60 days".
        created_at: When it was trained, ISO 8601.
        rows: Rows it was trained on.
        positives: How many of them converted.
        time_ordered: Whether the metrics are of rows later than those the evaluated model was fitted on.
        recipe: The candidate that was chosen.
        trees: Whether its trees are small or large, as ``training.learner.boosting`` grows them.
        flat: Whether a lead is just its attributes, read from a flat export.
        id_column: Column of the lead's id in such an export.
        missing: Words that mean "no value" in such an export.
        marks: What the marks in the numbers of each plain column meant: thousands or decimals.
        positive: The outcome of such an export that is a success, where it was named.
        encoding: How the characters of such an export were written; None where it was found out.
        window: First and last ``as_of`` in epoch seconds; None where the data had no dates.
        metrics: Metrics with intervals, of rows that the evaluated model was not fitted on.
        candidates: Log-loss of every candidate that was tried.
        findings: Findings of the leakage checks.
        availability: When each column is known, and which were kept out.
        ignored: Columns that the source had and the model does not use: a request may carry them.
        notes: Remarks of the user.
        libraries: Versions of the libraries.
        features: Names of the features.
        checks: Results of all leakage checks.
        judged_rows: Rows behind the metrics.
        judged_positives: How many of them converted.
        profiles: Distribution of each feature, and of the log-odds, over those rows.
        usual_missing: Share of missing features that one in twenty of those rows exceeded.
        left_out: Rows that were not trained on, by reason.
        intended_use: What the model is for.
        limits: What it does not know.
        names: What the company calls columns, values, kinds and stages, as ``[names]`` has it.
        project: The project that it was trained for; "" of earlier releases, and then it is anybody's.
        fairness: How it treats groups by chosen columns, as ``training.analysis.fairness`` writes it; empty
            where none were chosen.
        closed_stages: The stages that close a lead, the target among them; none of earlier releases and of
            flat exports.
        reopen_stages: The stages that open a closed lead again.
    """

    label: str
    created_at: str
    rows: int
    positives: int
    time_ordered: bool
    recipe: str
    trees: str = "small"
    flat: bool = False
    id_column: str | None = None
    missing: tuple[str, ...] = ()
    marks: dict[str, NumberMarks] = field(default_factory=dict)
    positive: str | None = None
    encoding: str | None = None
    window: tuple[int, int] | None = None
    metrics: dict[str, Interval] = field(default_factory=dict)
    candidates: dict[str, float] = field(default_factory=dict)
    findings: tuple[dict[str, Any], ...] = ()
    availability: tuple[dict[str, Any], ...] = ()
    ignored: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    libraries: dict[str, str] = field(default_factory=dict)
    features: tuple[str, ...] = ()
    checks: tuple[dict[str, Any], ...] = ()
    judged_rows: int = 0
    judged_positives: int = 0
    profiles: dict[str, ReferenceDistribution] = field(default_factory=dict)
    usual_missing: float | None = None
    left_out: dict[str, int] = field(default_factory=dict)
    intended_use: str = ""
    limits: tuple[str, ...] = ()
    names: dict[str, DisplayText] = field(default_factory=dict)
    project: str = ""
    fairness: dict[str, Any] = field(default_factory=dict)
    closed_stages: tuple[str, ...] = ()
    reopen_stages: tuple[str, ...] = ()

    @property
    def target_stage(self) -> str:
        """The stage whose entry the model predicts; "" where that is a column of a flat export."""
        match = _QUESTION.fullmatch(self.label)
        return "" if match is None or self.flat else match[1]

    @property
    def base_rate(self) -> float:
        """The share of training rows that converted."""
        return self.positives / self.rows

    def to_json(self) -> str:
        """The card as JSON text; ``from_json`` gives back an equal card."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> ModelCard:
        """The card that ``to_json`` wrote, in this release or an earlier one, whose cards say less."""
        record = json.loads(text)
        record["metrics"] = {name: Interval(**value) for name, value in record["metrics"].items()}
        profiles = record.get("profiles", {})
        record["profiles"] = {
            name: ReferenceDistribution.from_record(value) for name, value in profiles.items()
        }
        record["marks"] = {name: NumberMarks(**value) for name, value in record.get("marks", {}).items()}
        record["names"] = {key: DisplayText(**text) for key, text in record.get("names", {}).items()}
        lists = {name: tuple(value) for name, value in record.items() if isinstance(value, list)}
        return cls(**record | lists)
