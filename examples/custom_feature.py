"""Features of your own: records, computed in bulk for training and for one lead while the CRM waits.

    python examples/custom_feature.py

defines "different kinds of touchpoint in the last two weeks" and a feature derived from two others, "share of
touchpoints in the last week", computes them on both paths, and trains a model with them. A package adds such
features by the entry-point group leadloop.features, without a script.
"""

from __future__ import annotations

import sys
from dataclasses import replace

from features.cohort import CohortRule, Snapshots
from features.labels import LabelSpec
from features.online import OnlineFeatures
from features.record import to_records
from features.spec import DisplayText, EventSelection, FeatureSet, count, distinct, ratio
from training.config.settings import TrainingConfig
from training.data.dataset import compute_feature_rows, from_history
from training.pipeline.fit_model import train_model
from training.simulation.simulator import simulate

DAY = 86_400
TOUCHES = EventSelection("tempo", "touchpoints", label="touch")
RECENT_KINDS = distinct(
    TOUCHES.last(14),
    "kind",
    DisplayText(
        "Kinds of touchpoint in the last 14 days: {value}", "Arten von Kontaktpunkten in 14 Tagen: {value}"
    ),
)

_TOUCHES_SAY = DisplayText("Touchpoints: {value}", "Kontaktpunkte: {value}")
RECENT_SHARE = ratio(
    count(TOUCHES.last(7), _TOUCHES_SAY),
    count(TOUCHES, _TOUCHES_SAY),
    DisplayText("Share of touchpoints in 7 days: {value}", "Anteil der Kontaktpunkte in 7 Tagen: {value}"),
    name="touch.recent_share",
)


def main(leads: int = 1500) -> None:
    """Computes the features on both paths and trains a model that has them."""
    history = simulate(leads, seed=1).history
    dataset = from_history(
        history, CohortRule(on=("mql",), closed=("sql", "disqualified")), LabelSpec("sql", 60 * DAY)
    )
    features = FeatureSet((*dataset.features.specs, RECENT_KINDS, RECENT_SHARE))
    rows = compute_feature_rows(features, history, Snapshots(dataset.rows.select("lead_id", "as_of")))
    print(rows.select("lead_id", "as_of", RECENT_KINDS.name, RECENT_SHARE.name).head(3))

    # The same records, folded over one lead's events: what the service does.
    online, by_id = OnlineFeatures(features), {record.lead_id: record for record in to_records(history)}
    lead_id, as_of = rows["lead_id"][0], rows["as_of"][0]
    row = online(by_id[lead_id], as_of)
    for name in (RECENT_KINDS.name, RECENT_SHARE.name):
        print(f"{name}: batch {rows[name][0]}, online {row[name]}")

    model = train_model(replace(dataset, features=features, rows=rows), TrainingConfig(), print).model
    explanation = model.explain(rows.row(0, named=True), lead_id, as_of)
    for reason in explanation.reasons:
        if reason.feature in {RECENT_KINDS.name, RECENT_SHARE.name}:
            print(f"{reason.text} ({reason.points:+.1f} points of {explanation.score.points})")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
