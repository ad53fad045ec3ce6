"""Tables of CRMs as people have them, through the command itself: planned calls, moved tasks, warehouses."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

import leadloop

CASES = Path(__file__).parents[2] / "shared" / "cases"


@pytest.fixture
def case(request, tmp_path, monkeypatch):
    """The files of the case that the test names, in an empty folder of their own."""
    name = request.param
    if not (CASES / name).is_dir():
        pytest.skip(f"{CASES / name} is not on this machine")
    shutil.copytree(CASES / name, tmp_path / name)
    (tmp_path / name).chmod(0o755)
    monkeypatch.chdir(tmp_path / name)
    return tmp_path / name


@pytest.fixture
def check(monkeypatch, capsys):
    """Runs ``leadloop check`` with a configuration; what it answered: (exit code, messages)."""

    def command(text):
        Path("own.toml").write_text(text, encoding="utf-8")
        monkeypatch.setattr(sys, "argv", ["leadloop", "check", "--config", "own.toml"])
        code = 0
        try:
            leadloop.main()
        except SystemExit as ended:
            code = ended.code or 0
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, err + out

    return command


@pytest.mark.parametrize("case", ["52-future-tasks"], indirect=True)
def test_planned_tasks_are_left_out_and_said(case, check):
    code, answer = check((case / "leadloop.toml").read_text())
    assert code == 0
    assert "rows are planned for later and left out" in answer


@pytest.mark.parametrize("case", ["68-scheduled-after-export"], indirect=True)
def test_calls_after_the_export_make_no_outcome_known(case, check):
    code, answer = check((case / "leadloop.toml").read_text())
    assert code == 0
    assert "580 snapshots to learn from" in answer
    assert "taken as planned" in answer


TASKS = """
[leads]
file = "leads.csv"
columns = { lead_id = "id", created_at = "created_date" }
[[touchpoints]]
file = "tasks.csv"
lead_id = ["who_id"]
columns = { occurred_at = "created_date", kind = "task_subtype" }
%s
[[transitions]]
file = "leads.csv"
where = { status = ["Converted"] }
columns = { lead_id = "id", occurred_at = "converted_date" }
constants = { stage = "sql" }
[attributes]
only = ["lead_source", "industry", "title"]
[funnel]
stages = ["sql"]
target = "sql"
[label]
horizon = "60d"
"""


@pytest.mark.parametrize("case", ["60-salesforce-tables"], indirect=True)
def test_tasks_that_moved_to_the_contact_are_named_and_found(case, check):  # noqa: ARG001 - its folder is the current one
    code, answer = check(TASKS % "")
    assert code != 0
    assert 'write also = { leads = "converted_contact_id" }' in answer
    code, answer = check(TASKS % 'also = { leads = "converted_contact_id" }')
    assert code == 0
    assert "no such lead" not in answer
