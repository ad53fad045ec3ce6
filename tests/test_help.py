"""The help is the manual: every command and option says what it does."""

from __future__ import annotations

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from leadloop import app

COMMANDS = get_command(app).commands


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_says_what_it_does(name):
    command = COMMANDS[name]
    assert (command.help or "").strip().endswith(".")
    for param in command.params:
        assert (getattr(param, "help", None) or "").strip(), f"{name}: {param.name}"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_ends_well_and_names_every_option(name):
    result = CliRunner().invoke(app, [name, "--help"])
    assert result.exit_code == 0
    for param in COMMANDS[name].params:
        assert max(param.opts, key=len) in result.output or param.name in result.output.lower()


def test_the_first_page_lists_every_command():
    result = CliRunner().invoke(app, ["--help"])
    assert all(f"  {name}" in result.output for name in COMMANDS)
    assert {"init", "check", "train", "score", "report", "promote", "serve", "demo"} <= set(COMMANDS)
