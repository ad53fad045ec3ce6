"""The help is the manual: every command and option says what it does."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from leadloop import app
from training.cli.help import COMMAND_HELP

ROOT = Path(__file__).parents[1]
COMMANDS = get_command(app).commands


def every_command(commands=COMMANDS, prefix=""):
    """Every command by its full name, groups entered."""
    for name, command in commands.items():
        inner = getattr(command, "commands", None)
        if inner:
            yield from every_command(inner, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


EVERY = dict(every_command())


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
    assert all(re.search(rf"\b{name} ", result.output) for name in COMMANDS)
    assert {"init", "check", "train", "score", "report", "promote", "serve", "demo"} <= set(COMMANDS)


@pytest.mark.parametrize("name", EVERY)
def test_no_help_names_a_type_of_python(name):
    result = CliRunner().invoke(app, [*name.split(), "--help"])
    assert result.exit_code == 0
    assert (
        re.findall(r"<(?:bool|str|int|float|list|path|file|class)\b.*?>|\bTEXT\b|list\[", result.output) == []
    )


@pytest.mark.parametrize("name", EVERY)
def test_every_command_has_quiet_verbose_and_examples_of_its_own_options(name):
    known = {word for param in EVERY[name].params for word in (*param.opts, *param.secondary_opts)}
    assert {"-q", "--quiet", "-v", "--verbose"} <= known
    examples = COMMAND_HELP[name].examples
    assert all(example.startswith(f"leadloop {name.removesuffix(' models')}") for example in examples)
    used = {
        word for example in examples for word in shlex.split(example) if word.startswith("-") and word != "-"
    }
    assert used - known == set()


def test_help_is_about_commands_that_there_are():
    assert set(COMMAND_HELP) - {"models"} == set(EVERY)


# These do not answer: they serve until they are stopped, or their output is a file of its own.
WITHOUT_JSON = {"serve", "mcp", "config schema"}


@pytest.mark.parametrize("name", sorted(set(EVERY) - WITHOUT_JSON))
def test_every_command_that_answers_has_json(name):
    assert any("--json" in param.opts for param in EVERY[name].params)


# Whatever is wrong with these is known before one of these is imported.
HEAVY = ("polars", "lightgbm", "mlflow", "sklearn", "bentoml", "sqlalchemy")
MISUSES = [
    ["train"],
    ["train", "--leads", "nowhere.csv", "--label", "x"],
    ["train", "--leads", "leads.csv"],
    ["check", "--leads", "nowhere.csv", "--label", "x"],
    ["backtest", "--config", "nowhere.toml"],
    ["score", "--out", "x.csv"],
    ["score", "--model", "nowhere", "--out", "x.csv"],
    ["score", "--leads", "leads.csv", "--out", "nowhere/x.csv"],
    ["leads", "--html", "x.html"],
    ["points", "--model", "nowhere"],
    ["report", "--run", "nowhere"],
    ["promote"],
    ["promote", "nowhere"],
    ["monitor"],
    ["monitor", "--model", "nowhere"],
    ["monitor", "--log", "nowhere.db"],
    ["effect", "--model", "nowhere"],
    ["decisions", "--out", "x.csv", "--log", "nowhere.db"],
    ["serve", "--port", "99999"],
    ["serve", "--model", "nowhere"],
    ["serve", "--keys", "nowhere.json"],
    ["demo", "--port", "99999"],
    ["doctor", "--port", "99999"],
    ["mcp", "--http", "--port", "99999"],
    ["log", "stats", "--log", "nowhere.db"],
    ["log", "replay", "--model", "nowhere"],
    ["store", "load"],
    ["store", "scores"],
    ["webhooks", "list"],
    ["push", "hubspot", "--scores", "nowhere.csv"],
    ["init", "nowhere.csv"],
    ["models", "adopt", "--from", "nowhere"],
]


def test_a_mistake_is_answered_before_anything_heavy_is_imported(tmp_path):
    """In one process: the first command that imports one of them before it refuses is named."""
    script = f"""
import contextlib, io, sys
import leadloop
late = []
for words in {MISUSES!r}:
    sys.argv = ["leadloop", *words]
    try:
        with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.redirect_stdout(io.StringIO()):
            leadloop.main()
    except SystemExit as ended:
        if ended.code != 2 or not said.getvalue().startswith("error: "):
            late.append((words, ended.code, said.getvalue()))
    heavy = [name for name in {HEAVY!r} if name in sys.modules]
    if heavy:
        late.append((words, heavy))
        break
print(late)
"""
    (tmp_path / "leads.csv").write_text("Id,x\n1,2\n")
    result = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.stdout.strip(), result.stderr) == ("[]", "")


def test_the_doctor_imports_only_what_it_looks_at(tmp_path):
    script = f"""
import sys
import leadloop
sys.argv = ["leadloop", "doctor", "--port", "0"]
try:
    leadloop.main()
except SystemExit:
    print([name for name in {HEAVY!r} if name in sys.modules])
"""
    result = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment() | {"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout.strip() == "[]", result.stderr


def environment():
    return {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": "/nowhere"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands(shell):
    shells = {
        "bash": {"COMP_WORDS": "leadloop tra", "COMP_CWORD": "1"},
        "zsh": {"_TYPER_COMPLETE_ARGS": "leadloop tra"},
        "fish": {"_TYPER_COMPLETE_ARGS": "leadloop tra", "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }
    result = subprocess.run(
        [sys.executable, "-c", "import sys, leadloop; sys.argv[0] = 'leadloop'; leadloop.main()"],
        env=environment() | shells[shell] | {"_LEADLOOP_COMPLETE": f"complete_{shell}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "train" in result.stdout
    assert "promote" not in result.stdout
