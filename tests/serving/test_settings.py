"""Settings of the service: they come back as they were written, and nonsense is refused in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.__main__ import main
from serving.decision_log.settings import DEFAULT_PLACE, LogSettings
from serving.settings import ServiceSettings, SettingsError


@pytest.mark.parametrize("rate", ["0", "abc", "-1", "1.5", "60 ", "\u0661"])
def test_a_rate_that_is_none_is_refused_in_a_sentence(rate):
    with pytest.raises(SettingsError, match="LEADLOOP_RATE is a whole number of requests a minute"):
        ServiceSettings.of({"LEADLOOP_RATE": rate})


@pytest.mark.parametrize("workers", ["0", "two", "-1"])
def test_a_number_of_workers_that_is_none_is_refused_in_a_sentence(workers, monkeypatch, capsys):
    monkeypatch.setenv("LEADLOOP_WORKERS", workers)
    monkeypatch.setattr("sys.argv", ["serving"])
    with pytest.raises(SystemExit):
        main()
    assert f"is a whole number of processes from 1 on, not '{workers}'" in capsys.readouterr().err


def test_a_rate_that_is_none_ends_the_start_in_a_sentence(monkeypatch, capsys):
    monkeypatch.setenv("LEADLOOP_RATE", "abc")
    monkeypatch.setattr("sys.argv", ["serving"])
    assert main() == 2
    assert "error: LEADLOOP_RATE is a whole number" in capsys.readouterr().err


def test_settings_come_back_from_the_environment_as_they_were(tmp_path):
    settings = ServiceSettings(
        str(tmp_path),
        keys=tmp_path / "keys.json",
        rate=60,
        log=LogSettings(str(tmp_path / "decisions.db"), 30, "acme"),
        project="acme",
        allowed_hosts=("leads.example", "10.0.0.7"),
        webhooks=tmp_path / "webhooks.toml",
        rescore=False,
    )
    assert ServiceSettings.of(settings.environment) == settings


def test_a_service_told_nothing_logs_in_the_users_own_folder_and_not_in_its_own(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    places = [
        Path(ServiceSettings.of(variables).log.place)
        for variables in ({}, {"LEADLOOP_PROJECT": "acme"}, {"XDG_STATE_HOME": "relative"})
    ]
    state = tmp_path / "home" / ".local" / "state" / "leadloop"
    assert places == [state / name / "decisions.db" for name in ("service", "acme", "service")]
    assert ServiceSettings.of({"LEADLOOP_LOG": DEFAULT_PLACE}).log.place == DEFAULT_PLACE
