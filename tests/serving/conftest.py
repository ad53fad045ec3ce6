"""A small company's model and lead: every kind of feature, and arithmetic that can be done by hand."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import lightgbm as lgb
import numpy as np
import polars as pl
import pytest

from features.spec import (
    FeatureSet,
    Rows,
    Says,
    attribute,
    count,
    distinct,
    earliest,
    history_attribute,
    latest,
    lead_age,
    recency,
    span,
    tenure,
    total,
    trend,
)
from models import artifact
from models.calibration import Calibration
from models.card import Card
from models.conversion import ConversionModel
from models.explanation import Explanation, Reason, Score, as_points, total_points
from models.grades import Grades
from models.matrix import Encoding, Encodings
from models.predictor import Predictor
from serving.log.settings import OFF, PLACE

SAYS = Says("{value}", "{value}")
TOUCHES = Rows("behaviour", "touchpoints")
DEMOS = Rows("intent", "touchpoints", ("demo_request",))
COLLEAGUES = Rows("account", "account_touchpoints", label="colleagues")
WON = Rows("account", "account_transitions", ("sql",), label="colleagues_sql")

FEATURES = FeatureSet(
    (
        attribute("industry", family="fit", says=Says("Industry: {value}", "Branche: {value}")),
        attribute("employees", family="fit", says=SAYS, unit="number"),
        attribute("business_email", family="fit", says=SAYS, unit="flag"),
        attribute("account.region", family="account", says=SAYS),
        history_attribute("Budget", family="qualification", says=SAYS, unit="number"),
        history_attribute("Need", family="qualification", says=SAYS),
        lead_age(SAYS),
        count(TOUCHES.within(30), SAYS),
        count(DEMOS, Says("Demo requests: {value}", "Demo-Anfragen: {value}")),
        recency(DEMOS, SAYS),
        tenure(TOUCHES, SAYS),
        span(TOUCHES, SAYS),
        trend(TOUCHES, SAYS),
        total(TOUCHES, "amount", SAYS),
        distinct(TOUCHES, "channel", SAYS),
        latest(TOUCHES, "offer", SAYS),
        earliest(TOUCHES, "channel", SAYS),
        count(Rows("conversions", "transitions", ("mql",)), SAYS),
        count(COLLEAGUES, SAYS),
        distinct(COLLEAGUES, "colleague", SAYS),
        count(WON, SAYS),
    )
)
CARD = Card(
    label="sql within 60 days",
    created_at="2026-01-01",
    rows=9,
    positives=3,
    time_ordered=True,
    recipe="by hand",
    ignored=("Prospect ID",),
)
GRADES = Grades((0.9, 0.5, 0.1))


@dataclass(frozen=True)
class ByHand:
    """A model that anyone can check: a number adds its logarithm, a word its length, in tenths."""

    features: FeatureSet = FEATURES
    card: Card = CARD
    grades: Grades = GRADES
    version: str = "byhand000000"
    base: float = -2.0

    def score(self, row, lead_id, as_of):
        log_odds = math.fsum([self.base, *map(_weight, row.values())])
        probability = 1 / (1 + math.exp(-log_odds))
        grade = self.grades.grade(probability)
        return Score(lead_id, as_of, log_odds, probability, total_points(log_odds), grade, self.version)

    def explain(self, row, lead_id, as_of, lang="en"):
        reasons = [
            Reason(
                spec.name,
                spec.family,
                row[spec.name],
                weight,
                as_points(weight),
                spec.says.within(lang).format(value=row[spec.name]),
            )
            for spec in self.features.specs
            for weight in [_weight(row[spec.name])]
        ]
        ordered = tuple(sorted(reasons, key=lambda reason: -abs(reason.contribution)))
        return Explanation(self.score(row, lead_id, as_of), self.base, ordered)

    def score_all(self, rows):
        return [
            self.score({name: row[name] for name in self.features.names}, row["lead_id"], row["as_of"])
            for row in rows.iter_rows(named=True)
        ]


def _weight(value):
    if value is None:
        return 0.0
    return (len(value) if isinstance(value, str) else math.log1p(abs(value))) / 10


def _encoding(spec):
    if spec.is_category:
        levels = ("ads", "demo", "machinery")
        return Encoding(spec.name, "category", levels, rates=(0.1, 0.4, 0.5, 0.3, 0.2), alone=(0, 4))
    return Encoding(spec.name, "number")


def learned():
    """A small real model: trees of thirty rounds on leads that were drawn."""
    random = np.random.default_rng(7)
    rows = pl.DataFrame(
        {
            spec.name: random.choice(["ads", "demo", "machinery", "other"], 500)
            if spec.is_category
            else np.where(random.random(500) < 0.2, np.nan, random.exponential(50, 500))
            for spec in FEATURES.specs
        }
    )
    encodings = Encodings(tuple(map(_encoding, FEATURES.specs)))
    matrix = encodings.encode(rows)[:, : encodings.tree_width]
    outcome = (
        random.random(500) < 0.2 + 0.5 * (rows["demo_request.count"].fill_nan(0).to_numpy() > 40)
    ).astype(float)
    settings = {"objective": "binary", "num_leaves": 7, "verbose": -1, "num_threads": 1, "seed": 7}
    booster = lgb.train(settings, lgb.Dataset(matrix, outcome), num_boost_round=30)
    predictor = Predictor(encodings, Calibration(0.9, -0.2), booster=booster)
    return ConversionModel(FEATURES, predictor, GRADES, CARD)


@pytest.fixture(scope="session", autouse=True)
def no_log():
    """Nothing is logged unless a test asks for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(PLACE, OFF)
        yield


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "small"
    artifact.save(learned(), folder)
    return folder


@pytest.fixture(scope="session")
def by_hand():
    return ByHand()


@pytest.fixture(scope="session", params=["by hand", "learned"])
def model(request):
    """Both kinds, one after the other: what holds for a model holds for any."""
    return ByHand() if request.param == "by hand" else artifact.load(request.getfixturevalue("model_folder"))


@pytest.fixture(scope="session")
def flat_model():
    """A model of a flat export: nothing but attributes."""
    plain = [spec for spec in FEATURES.specs if spec.source == "leads" and spec.of]
    return replace(ByHand(), features=FeatureSet(tuple(plain)))


@pytest.fixture
def lead():
    """A lead with one of everything that a request may hold."""
    return {
        "lead_id": "0012",
        "created_at": "2026-04-01T00:00:00Z",
        "attributes": {"industry": "machinery", "employees": 120, "business_email": True},
        "attribute_history": [
            {"name": "Budget", "known_at": "2026-04-20T00:00:00Z", "value": 20000},
            {"name": "Need", "known_at": "2026-04-21T00:00:00Z", "value": "urgent"},
        ],
        "touchpoints": [
            {
                "occurred_at": "2026-05-01T10:00:00+02:00",
                "kind": "webinar",
                "channel": "linkedin",
                "amount": 5,
            },
            {"occurred_at": "2026-05-04T08:30:00+02:00", "kind": "demo_request", "offer": "demo"},
        ],
        "transitions": [{"occurred_at": "2026-05-01T10:00:00+02:00", "stage": "mql"}],
        "account": {
            "attributes": {"region": "north"},
            "touchpoints": [{"lead_id": "7", "occurred_at": 1777000000, "kind": "visit"}],
            "transitions": [{"lead_id": "7", "occurred_at": 1777000001, "stage": "sql"}],
        },
    }
