"""A service follows its hand-over plan, and no broken file stops it."""

from __future__ import annotations

from serving.plan_reload import PlanFile


def test_a_changed_file_counts_from_the_next_request_and_a_broken_one_not(tmp_path):
    file = tmp_path / "handover.toml"
    file.write_text("capacity = 5", encoding="utf-8")
    watched = PlanFile(file)
    assert watched.plan.capacity == 5
    file.write_text("capacity = 75", encoding="utf-8")
    assert watched.plan.capacity == 75
    file.write_text("capacity = many", encoding="utf-8")
    assert watched.plan.capacity == 75
    assert PlanFile(None).plan is None
