"""The command that pushes scores to a CRM. Imports late, so that --help stays instant."""

# ruff: noqa: PLC0415, PLR0913, TC001, TC003  # late imports; an option is a parameter; typer reads annotations
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from training.cli.console import print_result, print_status
from training.cli.options import Json, readable_path
from training.crm.protocol import CrmName
from training.crm.rest import Method

if TYPE_CHECKING:
    from training.crm.push import PushPlan, PushResult
    from training.crm.target import CrmTarget


def push(
    crm: Annotated[CrmName, typer.Argument(help="The CRM.")],
    *,
    scores: Annotated[
        Path, typer.Option(help="What `leadloop score` wrote.", metavar="FILE", callback=readable_path)
    ],
    url: Annotated[str | None, typer.Option(help="The CRM's address, https://HOST.", metavar="URL")] = None,
    map_: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            help="Fill this field from this column, instead of the usual ones.",
            metavar="FIELD=COLUMN",
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(help="The field that holds the lead ids, if not the CRM's own id.", metavar="FIELD"),
    ] = None,
    earlier: Annotated[
        Path | None, typer.Option(help="Earlier scores, for the trend.", metavar="FILE")
    ] = None,
    object_: Annotated[
        str | None,
        typer.Option("--object", help="Write to another object, model or table.", metavar="NAME"),
    ] = None,
    method: Annotated[Method, typer.Option(help="HTTP method of rest.")] = "PATCH",
    body: Annotated[
        Path | None, typer.Option(help="Body of rest: JSON with {columns} in it.", metavar="FILE")
    ] = None,
    database: Annotated[
        str | None, typer.Option(help="The database, for an Odoo with several.", metavar="NAME")
    ] = None,
    sent: Annotated[
        Path | None,
        typer.Option(help="File of what was sent; send only what has changed.", metavar="FILE"),
    ] = None,
    step: Annotated[
        float, typer.Option(help="With --sent: smallest change of a probability to send.", min=0, max=1)
    ] = 0.01,
    token_url: Annotated[
        str | None, typer.Option(help="Address of the OAuth token (client credentials).", metavar="URL")
    ] = None,
    scope: Annotated[str | None, typer.Option(help="Scope of the OAuth token.", metavar="SCOPE")] = None,
    create_fields: Annotated[
        bool, typer.Option("--create-fields", help="Create fields that the CRM lacks.")
    ] = False,
    go: Annotated[bool, typer.Option("--go", help="Send the scores; without it nothing is sent.")] = False,
    json_: Json = None,
) -> None:
    """Write scores back to a CRM. Shows what it would send; sends it with --go.

    The access token is read from LEADLOOP_PUSH_TOKEN, or fetched for LEADLOOP_PUSH_CLIENT_ID. An interrupted
    push goes on where it stopped.
    """
    from training.crm.push import plan
    from training.crm.rest import parse_body
    from training.crm.sent_scores import SentScores
    from training.crm.target import CrmTarget, parse_field_mapping

    target = CrmTarget(
        crm,
        url,
        key,
        parse_field_mapping(map_ or ()),
        object_,
        method,
        None if body is None else parse_body(body.read_text(encoding="utf-8"), str(body)),
        database,
        token_url,
        scope,
    )
    planned = plan(target, scores, earlier, None if sent is None else SentScores(sent, step))
    if create_fields:
        _create_fields(target, planned, go=go)
    outcome = _send(target, planned) if go else planned
    for text in outcome.in_words():
        print_status(text)
    print_result(outcome.to_dict(), json_)
    raise typer.Exit(outcome.exit_code)


def _create_fields(target: CrmTarget, planned: PushPlan, *, go: bool) -> None:
    """Make the fields that the CRM lacks, or say which these are."""
    from training.crm.field_creation import create_fields, plan_fields, written_fields
    from training.crm.protocol import PushError, PushStopped

    try:
        with target.session() as send:
            plan = plan_fields(planned.crm, written_fields(planned.fields, planned.frame), send)
            if go:
                create_fields(plan, send)
    except (PushStopped, OSError) as error:
        # Nothing was sent: without its fields the CRM would refuse all of it.
        raise PushError(str(error)) from error
    print_status(plan.in_words(made=go))
    if plan.is_hidden and go:
        raise PushError(plan.access)
    if plan.access:
        print_status(plan.access)


def _send(target: CrmTarget, planned: PushPlan) -> PushResult:
    from training.crm.push import push_scores as run

    with target.session() as send:
        return run(planned, send)
