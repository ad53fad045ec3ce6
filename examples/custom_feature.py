"""A feature of your own: one record, computed in bulk for training and for one lead while the CRM waits.

    python examples/custom_feature.py

defines "different kinds of touchpoint in the last two weeks", computes it on both paths, and trains a model
with it.
"""

from __future__ import annotations

import sys
from dataclasses import replace

from features.cohort import CohortRule, Snapshots
from features.labels import LabelSpec
from features.online import OnlineFeatures
from features.record import to_records
from features.spec import DisplayText, EventSelection, FeatureSet, distinct
from training.config.settings import TrainingConfig
from training.data.dataset import compute_feature_rows, from_history
from training.pipeline.fit_model import train_model
from training.simulation.simulator import simulate

DAY = 86_400
RECENT_KINDS = distinct(
    EventSelection("tempo", "touchpoints", label="touch").last(14),
    "kind",
    DisplayText(
        "Kinds of touchpoint in the last 14 days: {value}", "Arten von Kontaktpunkten in 14 Tagen: {value}"
    ),
)


def main(leads: int = 1500) -> None:
    """Computes the feature on both paths and trains a model that has it."""
    history = simulate(leads, seed=1).history
    dataset = from_history(
        history, CohortRule(on=("mql",), closed=("sql", "disqualified")), LabelSpec("sql", 60 * DAY)
    )
    features = FeatureSet((*dataset.features.specs, RECENT_KINDS))
    rows = compute_feature_rows(features, history, Snapshots(dataset.rows.select("lead_id", "as_of")))
    print(rows.select("lead_id", "as_of", RECENT_KINDS.name).head(3))

    # The same record, folded over one lead's events: what the service does.
    online, by_id = OnlineFeatures(features), {record.lead_id: record for record in to_records(history)}
    lead_id, as_of = rows["lead_id"][0], rows["as_of"][0]
    value = online(by_id[lead_id], as_of)[RECENT_KINDS.name]
    print(f"batch {rows[RECENT_KINDS.name][0]}, online {value}")

    model = train_model(replace(dataset, features=features, rows=rows), TrainingConfig(), print).model
    explanation = model.explain(rows.row(0, named=True), lead_id, as_of)
    reason = next(reason for reason in explanation.reasons if reason.feature == RECENT_KINDS.name)
    print(f"{reason.text} ({reason.points:+.1f} points of {explanation.score.points})")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
