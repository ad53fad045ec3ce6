"""The commands models and models adopt: what models there are, and taking over earlier ones."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer

from features.suggestions import suggest
from training.cli.console import print_result, print_status, usage_error
from training.cli.options import Json, ProjectName, find_project, project_tracking

if TYPE_CHECKING:
    from training.registry.tracking import Tracking

models_app = typer.Typer(help="Models of this project and of others.")


@models_app.callback(invoke_without_command=True)
def models(context: typer.Context, project: ProjectName = None, json_: Json = None) -> None:
    """Say which project this is, and which models it and others have."""
    if context.invoked_subcommand is not None:
        return
    from models.project import bentoml_store
    from training.registry.overview import list_models

    tracking = project_tracking(project, draw=False)
    named = find_project(project, tracking.uri, draw=False)
    overview = list_models(named, tracking=tracking, store=bentoml_store())
    for line in overview.in_words():
        print_status(line)
    print_result(overview.to_dict(), json_)


@models_app.command()
def adopt(
    source: Annotated[
        str, typer.Option("--from", help="leadloop (earlier releases) or another project.", metavar="NAME")
    ] = "leadloop",
    project: ProjectName = None,
    json_: Json = None,
) -> None:
    """Take over the models of another project. Or those of an earlier release."""
    tracking = project_tracking(project)
    _refuse_unknown(source, tracking)
    from training.registry.adoption import adopt_models

    adoption = adopt_models(source, tracking=tracking)
    for line in adoption.in_words():
        print_status(line)
    print_result(adoption.to_dict(), json_)


def _refuse_unknown(source: str, tracking: Tracking) -> None:
    """Refuse a name that an embedded registry does not have; importing MLflow takes seconds."""
    from models.project import LEGACY_NAME, check_project_name, store_name

    if not tracking.uri.startswith("sqlite:///"):
        return
    wanted = source if source == LEGACY_NAME else store_name(check_project_name(source))
    names = _registered_names(Path(tracking.uri.removeprefix("sqlite:///")))
    if names is not None and wanted not in names:
        others = suggest(source, (name.removeprefix(f"{LEGACY_NAME}.") for name in names))
        usage_error(f"{tracking.address} has no models of {source}{others}")


def _registered_names(file: Path) -> list[str] | None:
    """The names of the models in MLflow's database; None where only MLflow can tell."""
    if not file.is_file():
        return []
    address = f"file:{quote(str(file.absolute()))}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True)) as connection:
            rows = connection.execute("SELECT DISTINCT name FROM model_versions ORDER BY name")
            return [str(name) for (name,) in rows]
    except sqlite3.Error:
        return None
