"""How a command speaks: lines for a person on standard error, one JSON object for a script, an exit code."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

FAILED, UNUSABLE, INTERRUPTED = 1, 2, 130


def say(line: str) -> None:
    """A line for the person at the terminal; standard output is for results."""
    typer.echo(line, err=True)


def emit(result: dict[str, Any], json_: str | None) -> None:
    """The result as one JSON object, to a file or (for ``-``) standard output, if it was asked for."""
    if json_ is None:
        return
    text = json.dumps(result, indent=1, ensure_ascii=False)
    typer.echo(text) if json_ == "-" else Path(json_).write_text(text + "\n", encoding="utf-8")


def refuse(message: str) -> NoReturn:
    """Ends the command because of what it was given."""
    say(f"error: {message}")
    raise typer.Exit(UNUSABLE)


@contextmanager
def spoken() -> Iterator[None]:
    """What went wrong as one line; the exit code says whose fault it was."""
    try:
        yield
    except SystemExit as ended:
        if ended.code == INTERRUPTED:
            say("interrupted; nothing half-written was left behind")
        raise
    except OSError as error:
        say(f"error: {error.strerror or error}: {error.filename or ''}".rstrip(": "))
        raise SystemExit(FAILED) from error
    except ValueError as error:
        if not type(error).__module__.startswith(("features.", "models.", "training.", "serving.")):
            raise
        say(f"error: {error}")
        raise SystemExit(UNUSABLE) from error
