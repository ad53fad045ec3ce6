"""The output of commands: status lines on standard error, one JSON object, and exit codes."""

from __future__ import annotations

import json
import tempfile
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

FAILED, UNUSABLE, FINDINGS, INTERRUPTED = 1, 2, 3, 130
_OURS = ("features.", "models.", "training.", "serving.")


def print_status(line: str) -> None:
    """Print a line on standard error; standard output is for results."""
    typer.echo(line, err=True)


def print_result(result: dict[str, Any], json_: str | None) -> None:
    """Write the result as JSON to the file ``json_``, to standard output for "-", or not at all for None."""
    if json_ is None:
        return
    text = json.dumps(result, indent=1, ensure_ascii=False)
    typer.echo(text) if json_ == "-" else Path(json_).write_text(text + "\n", encoding="utf-8")


def usage_error(message: str) -> NoReturn:
    """Print an error about the command's arguments, and exit with code 2."""
    print_status(f"error: {message}")
    raise typer.Exit(UNUSABLE)


@contextmanager
def report_errors() -> Iterator[None]:
    """Print an exception as one line; exit code 2 for unusable input, 1 for a failure, 130 if interrupted."""
    try:
        yield
    except SystemExit as ended:
        if ended.code == INTERRUPTED:
            print_status("interrupted; nothing half-written was left behind")
        raise
    except OSError as error:
        print_status(f"error: {error.strerror or error}: {error.filename or ''}".rstrip(": "))
        raise SystemExit(FAILED) from error
    except Exception as error:
        if isinstance(error, ValueError) and type(error).__module__.startswith(_OURS):
            print_status(f"error: {error}")
            raise SystemExit(UNUSABLE) from error
        print_status(_fault(error))
        raise SystemExit(FAILED) from error


def _fault(error: Exception) -> str:
    """The line for an unexpected exception; its traceback goes to a file that can be sent along."""
    with tempfile.NamedTemporaryFile("w", prefix="leadloop-", suffix=".txt", delete=False) as file:
        file.writelines(traceback.format_exception(error))
    what = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    return f"error: leadloop has a fault ({what}); please report it with {file.name}"
