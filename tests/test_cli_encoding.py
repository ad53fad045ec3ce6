"""The options that say how a file is written reach every command that reads one, without a model."""

from __future__ import annotations

import sys

import pytest

import leadloop

COMMANDS = ("check", "train", "backtest", "points")


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Runs the command in a folder of its own; what it answered: (exit code, messages)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def command(*words):
        monkeypatch.setattr(sys, "argv", ["leadloop", *words])
        with pytest.raises(SystemExit) as ended:
            leadloop.main()
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return ended.value.code, err + out

    return command


@pytest.fixture
def export(tmp_path):
    """An export in Shift-JIS in which every outcome is one word."""
    rows = "".join(f"L{i},{i},成約\n" for i in range(50))
    (tmp_path / "leads.csv").write_text(f"Id,訪問,結果\n{rows}", encoding="shift_jis")
    return ["--leads", "leads.csv", "--id", "Id", "--label", "結果"]


@pytest.mark.parametrize("command", COMMANDS)
def test_letters_are_read_as_the_encoding_says(run, export, command):
    code, answer = run(command, *export, "--encoding", "shift_jis")
    assert code == 2
    assert "has one class only: every row is '成約'" in answer


@pytest.mark.parametrize("command", COMMANDS)
def test_without_it_they_are_other_letters(run, export, command):
    code, answer = run(command, *export)
    assert (code, "has no column '結果'" in answer) == (2, True)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_name_that_is_no_encoding_is_refused_with_ones_that_are(run, export, command):
    code, answer = run(command, *export, "--encoding", "shift-jiss")
    assert (code, "'shift-jiss' is no encoding; write one such as utf-8" in answer) == (2, True)
