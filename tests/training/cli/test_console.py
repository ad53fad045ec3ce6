"""What commands print: results on standard output, all else on standard error, as much as was asked for."""

from __future__ import annotations

import io
import sys
from typing import Annotated, Literal

import pytest
import typer

from training.cli.console import (
    count_into,
    output_level,
    print_error,
    print_status,
    report_errors,
    show_progress,
)
from training.config.toml_reader import ConfigError
from training.progress import Step


class Terminal(io.StringIO):
    """A standard error that is a terminal."""

    def isatty(self):
        return True


def test_a_quiet_command_prints_its_errors_only(capsys):
    with output_level(quiet=True, verbose=False), show_progress("work") as say:
        say("a line")
        say(Step("step 1 of 2", done=0, total=2))
        print_status("another line")
        print_error("something is wrong")
    out, err = capsys.readouterr()
    assert (out, err) == ("", "error: something is wrong\n")
    print_status("loud again")
    assert capsys.readouterr().err == "loud again\n"


def test_a_verbose_command_prints_times_and_the_traceback(capsys):
    def fail():
        with report_errors(), output_level(quiet=False, verbose=True):
            print_status("a line")
            msg = "the file is wrong"
            raise ConfigError(msg)

    with pytest.raises(SystemExit) as ended:
        fail()
    err = capsys.readouterr().err
    assert ended.value.code == 2
    assert " s  a line\n" in err
    assert "Traceback" in err
    assert err.endswith("error: the file is wrong\n")


def test_steps_are_lines_where_nobody_watches(capsys):
    with show_progress("work") as say:
        say(Step("fold 1 of 5", done=0, total=5))
    assert capsys.readouterr().err == "fold 1 of 5\n"


def test_steps_that_come_often_are_no_lines(capsys):
    with show_progress("loading", "leads") as say:
        count_into(say)(500, 1000)
        say("half of them")
    assert capsys.readouterr().err == "half of them\n"


def test_a_terminal_gets_a_bar_with_the_time_left(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with show_progress("loading", "leads") as say:
        count_into(say)(500, 1000)
        say("a line [not markup]")
    shown = terminal.getvalue()
    assert "a line [not markup]" in shown
    assert "left:" in shown


app = typer.Typer()


def refuse_half(share):
    if share == 0.5:
        msg = "half is not possible"
        raise typer.BadParameter(msg)
    return share


@app.command()
def serve_on(
    crm: Literal["hubspot", "odoo"],
    port: Annotated[int, typer.Option("-p", "--port", min=500, max=65535)] = 3000,
    share: Annotated[float, typer.Option(callback=refuse_half)] = 0.1,
) -> None:
    """Stand for a command."""


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["odoo", "--port", "x"], "--port: a whole number is needed"),
        (["odoo", "-p", "499"], "--port: at least 500 is needed"),
        (["odoo", "--port", "65536"], "--port: at most 65535 is possible"),
        (["odoo", "--share", "x"], "--share: a number is needed"),
        (["odoo", "--share", ".5"], "--share: half is not possible"),
        (["sugar"], "crm: 'sugar' is not one of 'hubspot', 'odoo'"),
        ([], "crm is missing; name one of hubspot, odoo (`x --help` lists the options)"),
        (
            ["odoo", "--prt", "1"],
            "there is no option --prt; did you mean '--port'? (`x --help` lists the options)",
        ),
        (["odoo", "--port"], "--port needs a value"),
    ],
)
def test_a_mistake_is_told_in_words_of_ours(capsys, words, shown):
    with pytest.raises(SystemExit) as ended, report_errors():
        app(words, standalone_mode=False, prog_name="x")
    assert (ended.value.code, capsys.readouterr().err) == (2, f"error: {shown}\n")
