"""The output of commands: status lines on standard error, one JSON object, and exit codes."""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import time
import traceback
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

import typer

from features.suggestions import suggest
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


# What is said of a value, by pydantic's name of what is wrong with it; Typer checks values with pydantic.
_VALUE_ERRORS = {
    "int_parsing": "a whole number is needed",
    "int_type": "a whole number is needed",
    "int_from_float": "a whole number is needed",
    "float_parsing": "a number is needed",
    "float_type": "a number is needed",
    "finite_number": "a finite number is needed",
    "bool_parsing": "yes or no is needed",
    "greater_than_equal": "at least {ge} is needed",
    "greater_than": "more than {gt} is needed",
    "less_than_equal": "at most {le} is possible",
    "less_than": "less than {lt} is possible",
    "literal_error": "one of {expected} is needed",
    "enum": "one of {expected} is needed",
    "value_error": "{error}",
}


def _print_misuse(error: typer.TyperException) -> None:
    """Say what is wrong with the words of a command, and where its help is; nothing where that was shown."""
    message = _misuse(error)
    if not message:
        return
    # A value that is wrong says what would be right; a name that is wrong sends the reader to the list.
    is_value = isinstance(error, typer.BadParameter) and not _is_missing(error)
    context = None if is_value else getattr(error, "ctx", None)
    hint = f" (`{context.command_path} --help` lists the options)" if context is not None else ""
    first = message[0] if message[1:2].isupper() else message[0].lower()
    print_error(f"{first}{message[1:].rstrip('.')}{hint}")


def _misuse(error: typer.TyperException) -> str:
    """What is wrong, by the kind of the exception; empty where the help was shown instead."""
    if isinstance(error, typer.BadParameter):
        name = _parameter(error)
        if _is_missing(error):
            choices = getattr(getattr(error.param, "type_descriptor", None), "choices", None)
            return f"{name} is missing" + (f"; name one of {', '.join(choices)}" if choices else "")
        return f"{name}: {_wrong_value(error)}" if name else _wrong_value(error)
    option, near = (getattr(error, name, None) for name in ("option_name", "possibilities"))
    if hasattr(error, "possibilities"):
        return f"there is no option {option}{suggest(str(option), near) if near else ''}"
    if option is not None:
        return f"{option} needs a value"
    # What Typer raises where a group is called without a command has shown the help.
    return "" if type(error).__name__ == "NoArgsIsHelpError" else error.format_message()


def _is_missing(error: typer.BadParameter) -> bool:
    """Whether an option or argument is missing, which is the only kind of these errors with a type."""
    return hasattr(error, "param_type")


def _parameter(error: typer.BadParameter) -> str:
    """The longest name of the option or argument that an error is about; empty where none is known."""
    if error.param is None:
        return error.param_hint if isinstance(error.param_hint, str) else " / ".join(error.param_hint or ())
    names = [name for name in error.param.opts if name.startswith("-")]
    return max(names, key=len) if names else str(getattr(error.param, "metavar", None) or error.param.name)


def _wrong_value(error: typer.BadParameter) -> str:
    """What is wrong with a value: in words of ours where pydantic refused it, else as the command says it."""
    refusals = getattr(error.__cause__, "errors", None)
    first = refusals()[0] if callable(refusals) else {}
    words = _VALUE_ERRORS.get(first.get("type", ""))
    return error.message if words is None else words.format(**first.get("ctx", {}))


def _print_traceback(error: Exception) -> None:
    if _OUTPUT.verbose:
        typer.echo("".join(traceback.format_exception(error)), err=True)


def _fault(error: Exception) -> str:
    """The line for an unexpected exception; its traceback goes to a file that can be sent along."""
    with tempfile.NamedTemporaryFile("w", prefix="leadloop-", suffix=".txt", delete=False) as file:
        file.writelines(traceback.format_exception(error))
    what = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    return f"leadloop has a fault ({what}); please report it with {file.name}"
