"""What commands print: results on standard output, all else on standard error, as much as was asked for."""

from __future__ import annotations

import io
import sys

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


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("Input should be a valid integer, unable to parse string as an integer", "a whole number is needed"),
        ("Input should be greater than or equal to 500", "at least 500 is needed"),
        ("Input should be less than or equal to 65535", "at most 65535 is possible"),
        ("Value error, 'x' is not one of 'en', 'de'", "'x' is not one of 'en', 'de'"),
    ],
)
def test_a_wrong_value_is_refused_in_words_of_ours(capsys, message, shown):
    with pytest.raises(SystemExit) as ended, report_errors():
        raise typer.BadParameter(message, param_hint="--port")
    assert (ended.value.code, capsys.readouterr().err) == (2, f"error: --port: {shown}\n")
