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
from features.online import Plan
from features.record import records
from features.spec import FeatureSet, Rows, Says, distinct
from training.config import Training
from training.dataset import feature_rows, of_history
from training.run import fit
from training.simulate import simulate

DAY = 86_400
RECENT_KINDS = distinct(
    Rows("tempo", "touchpoints", label="touch").within(14),
    "kind",
    Says("Kinds of touchpoint in the last 14 days: {value}", "Arten von Kontaktpunkten in 14 Tagen: {value}"),
)


def main(leads: int = 1500) -> None:
    """Computes the feature on both paths and trains a model that has it."""
    history = simulate(leads, seed=1).history
    dataset = of_history(
        history, CohortRule(on=("mql",), closed=("sql", "disqualified")), LabelSpec("sql", 60 * DAY)
    )
    features = FeatureSet((*dataset.features.specs, RECENT_KINDS))
    rows = feature_rows(features, history, Snapshots(dataset.rows.select("lead_id", "as_of")))
    print(rows.select("lead_id", "as_of", RECENT_KINDS.name).head(3))

    # The same record, folded over one lead's events: what the service does.
    online, by_id = Plan(features), {record.lead_id: record for record in records(history)}
    lead_id, as_of = rows["lead_id"][0], rows["as_of"][0]
    value = online(by_id[lead_id], as_of)[RECENT_KINDS.name]
    print(f"batch {rows[RECENT_KINDS.name][0]}, online {value}")

    model = fit(replace(dataset, features=features, rows=rows), Training(), print).model
    explanation = model.explain(rows.row(0, named=True), lead_id, as_of)
    reason = next(reason for reason in explanation.reasons if reason.feature == RECENT_KINDS.name)
    print(f"{reason.text} ({reason.points:+.1f} points of {explanation.score.points})")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
