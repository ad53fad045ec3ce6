"""The commands models and models adopt: what models there are, and taking over earlier ones."""

from __future__ import annotations

from typing import Annotated

import typer

from training.cli.console import print_result, print_status
from training.cli.options import Json, ProjectName, find_project, project_tracking

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
    from training.registry.adoption import adopt_models

    adoption = adopt_models(source, tracking=project_tracking(project))
    for line in adoption.in_words():
        print_status(line)
    print_result(adoption.to_dict(), json_)
