"""The output of commands: status lines on standard error, one JSON object, and exit codes."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import tempfile
import time
import traceback
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

import typer

from training.progress import Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FAILED, UNUSABLE, FINDINGS, INTERRUPTED = 1, 2, 3, 130
_OURS = ("features.", "models.", "training.", "serving.")


@dataclass
class _Output:
    """How much the running command prints; ``errors`` is where its errors go."""

    verbose: bool = False
    errors: TextIO | None = None
    started: float = 0.0


_OUTPUT = _Output()


@contextmanager
def output_level(*, quiet: bool, verbose: bool) -> Iterator[None]:
    """Print only errors and results, or also times, log messages and tracebacks, until the context ends."""
    _OUTPUT.verbose, _OUTPUT.started = verbose, time.monotonic()
    if verbose:
        logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    if not quiet:
        yield
        return
    _OUTPUT.errors = sys.stderr
    try:
        with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stderr(nowhere):  # noqa: PTH123
            yield
    finally:
        _OUTPUT.errors = None


def print_status(line: str) -> None:
    """Print a line on standard error; standard output is for results."""
    elapsed = f"{time.monotonic() - _OUTPUT.started:7.1f} s  " if _OUTPUT.verbose else ""
    typer.echo(elapsed + line, err=True)


def print_next(command: str) -> None:
    """Print the command that people usually run after this one."""
    print_status(f"next: {command}")


def print_result(result: dict[str, Any], json_: str | None) -> None:
    """Write the result as JSON to the file ``json_``, to standard output for "-", or not at all for None."""
    if json_ is None:
        return
    text = json.dumps(result, indent=1, ensure_ascii=False)
    typer.echo(text) if json_ == "-" else Path(json_).write_text(text + "\n", encoding="utf-8")


def print_error(message: str) -> None:
    """Print an error, even of a quiet command."""
    typer.echo(f"error: {message}", file=_OUTPUT.errors or sys.stderr)


def usage_error(message: str) -> NoReturn:
    """Print an error about the command's arguments, and exit with code 2."""
    print_error(message)
    raise typer.Exit(UNUSABLE)


@contextmanager
def show_progress(work: str, unit: str = "") -> Iterator[Callable[[str], None]]:
    """Show the steps of a long piece of work.

    On a terminal a bar with the time left stands below the lines; elsewhere each step is a line.

    Args:
        work: What is done, in two words: ``training``.
        unit: What steps count, where they come too often for a line each: ``leads``. Default: each is a line.

    Yields:
        A function that takes a line, or a ``Step``.
    """
    if not sys.stderr.isatty():
        yield lambda line: None if unit and isinstance(line, Step) else print_status(line)
        return
    from rich.console import Console  # noqa: PLC0415 - a tenth of a second, on terminals only
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    counted = (MofNCompleteColumn(), TextColumn(unit)) if unit else ()
    columns = (
        BarColumn(bar_width=30),
        *counted,
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True, highlight=False)
    with Progress(
        SpinnerColumn(), TextColumn("{task.description}", markup=False), *columns, console=console,
        transient=True, refresh_per_second=4,
    ) as bar:  # fmt: skip
        task = bar.add_task(work, total=None)

        def report(line: str) -> None:
            if isinstance(line, Step):
                # A new series of steps has its own time left.
                move = bar.update if line.done else bar.reset
                move(task, description=work if unit else str(line), completed=line.done, total=line.total)
                return
            console.print(line, markup=False, soft_wrap=True)
            if not unit:
                bar.reset(task, description=work, total=None)

        yield report


def count_into(say: Callable[[str], None]) -> Callable[[int, int], None]:
    """A function that takes how many are done and how many there are, and reports them as a ``Step``."""
    return lambda done, total: say(Step(f"{done:,} of {total:,}", done=done, total=total))


@contextmanager
def report_errors() -> Iterator[None]:
    """Print an exception as one line; exit code 2 for unusable input, 1 for a failure, 130 if interrupted."""
    try:
        yield
    except SystemExit as ended:
        if ended.code == INTERRUPTED:
            print_error("interrupted; nothing half-written was left behind")
        raise
    except typer.TyperException as error:
        _print_misuse(error)
        raise SystemExit(error.exit_code) from error
    except OSError as error:
        _print_traceback(error)
        print_error(f"{error.strerror or error}: {error.filename or ''}".rstrip(": "))
        raise SystemExit(FAILED) from error
    except Exception as error:
        _print_traceback(error)
        if isinstance(error, ValueError) and type(error).__module__.startswith(_OURS):
            print_error(str(error))
            raise SystemExit(UNUSABLE) from error
        print_error(_fault(error))
        raise SystemExit(FAILED) from error
    finally:
        _OUTPUT.verbose = False


# What Typer says of a value, in pydantic's words, and what is said instead.
_VALUE_ERRORS = (
    (r"Input should be a valid integer.*", "a whole number is needed"),
    (r"Input should be a valid number.*", "a number is needed"),
    (r"Input should be greater than or equal to (\S+)", r"at least \1 is needed"),
    (r"Input should be less than or equal to (\S+)", r"at most \1 is possible"),
    (r"Value error, ", ""),
    (r"Input should be (?!a )(.+)", r"one of \1 is needed"),
)


def _print_misuse(error: typer.TyperException) -> None:
    """Say what is wrong with the words of a command, and where its help is; nothing where that was shown."""
    # A value that is wrong says what would be right; a name that is wrong sends the reader to the list.
    named = isinstance(error, typer.BadParameter) and "Missing" not in error.format_message()
    context = None if named else getattr(error, "ctx", None)
    message = error.format_message()
    if not message or type(error).__name__ == "NoArgsIsHelpError":
        return
    message = re.sub(r"^Invalid value for '?(?:'-\w' / ')?([^':]+)'?: ", r"\1: ", message)
    for pattern, words in _VALUE_ERRORS:
        message = re.sub(pattern, words, message, flags=re.DOTALL)
    hint = f" (`{context.command_path} --help` lists the options)" if context is not None else ""
    print_error(f"{message[0].lower()}{message[1:].rstrip('.')}{hint}")


def _print_traceback(error: Exception) -> None:
    if _OUTPUT.verbose:
        typer.echo("".join(traceback.format_exception(error)), err=True)


def _fault(error: Exception) -> str:
    """The line for an unexpected exception; its traceback goes to a file that can be sent along."""
    with tempfile.NamedTemporaryFile("w", prefix="leadloop-", suffix=".txt", delete=False) as file:
        file.writelines(traceback.format_exception(error))
    what = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    return f"leadloop has a fault ({what}); please report it with {file.name}"
