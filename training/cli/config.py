"""The commands on the configuration itself: its JSON schema."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - Typer reads the annotation
from typing import Annotated

import typer

from training.cli.console import print_status
from training.cli.options import writable_path

config_app = typer.Typer(help="leadloop.toml: its JSON schema for editors.", no_args_is_help=True)


@config_app.callback()
def _config() -> None:
    """leadloop.toml: its JSON schema for editors."""


@config_app.command()
def schema(
    out: Annotated[
        Path | None,
        typer.Option(
            help="Write it to a file. Default: standard output.", metavar="FILE", callback=writable_path
        ),
    ] = None,
) -> None:
    """Print the JSON schema of leadloop.toml, from which editors complete keys and mark mistakes."""
    from training.config.json_schema import schema_text
    from training.file_output import write_text

    if out is None:
        typer.echo(schema_text(), nl=False)
        return
    write_text(out, schema_text())
    print_status(f"schema written to {out}; name it in the first line of leadloop.toml: #:schema ./{out}")
