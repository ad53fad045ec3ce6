"""The command that pushes scores to a CRM. Imports late, so that --help stays instant."""

# ruff: noqa: PLC0415, PLR0913, TC001  # late imports; an option is a parameter; typer reads annotations
from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from training.cli.console import print_result, print_status, usage_error
from training.cli.options import OUT, Json, existing_log, readable_path
from training.crm.protocol import CrmName
from training.crm.rest import Method

if TYPE_CHECKING:
    from training.crm.push import PushPlan, PushResult
    from training.crm.target import CrmTarget


DEFAULT = "default"
# Writes the newest decision about each lead of a log, by a model, to a file; says how many these are.
WriteDecisions = Callable[[str, str, Path], int]


def with_decisions(command: Callable[..., None], write: WriteDecisions) -> Callable[..., None]:
    """The command for Typer, whose first parameter is ``write``: only the service's packages read its log."""
    own = list(signature(command, eval_str=True).parameters.values())[1:]

    @wraps(command)
    def run(**values: Any) -> None:
        command(write, **values)

    run.__signature__ = Signature(own)  # type: ignore[attr-defined]  # what Typer reads
    run.__annotations__ = {option.name: option.annotation for option in own}
    return run


def push(
    write: WriteDecisions,
    crm: Annotated[CrmName, typer.Argument(help="The CRM.")],
    *,
    scores: Annotated[
        Path | None, typer.Option(help="What `leadloop score` wrote.", metavar="FILE", callback=readable_path)
    ] = None,
    from_log: Annotated[
        str | None,
        typer.Option(
            "--from-log",
            help="Instead of a file: the newest decision about each lead in this decision log.",
            metavar="PLACE",
            callback=existing_log,
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option(help="With --from-log: a further model of the service, by its name.", metavar="NAME"),
    ] = DEFAULT,
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
    file = _score_file(crm, scores, from_log, model, mapped=bool(map_))
    if from_log is not None:
        print_status(f"{write(from_log, model, file):,} decisions read from the log into {file}")
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
    planned = plan(target, file, earlier, None if sent is None else SentScores(sent, step))
    if create_fields:
        _create_fields(target, planned, go=go)
    outcome = _send(target, planned) if go else planned
    for text in outcome.in_words():
        print_status(text)
    print_result(outcome.to_dict(), json_)
    raise typer.Exit(outcome.exit_code)


def _score_file(crm: str, scores: Path | None, log: str | None, model: str, *, mapped: bool) -> Path:
    """The file of scores; one that is read from a log lies beside the journal of what was acknowledged."""
    if (scores is None) == (log is None):
        usage_error("name the scores: a file with --scores, or a decision log with --from-log")
    if scores is not None:
        if model != DEFAULT:
            usage_error("--model goes with --from-log; a file holds the scores of one model")
        return scores
    if model != DEFAULT and not mapped:
        usage_error(
            f"name the fields of {model} with --map, as in --map {model}_probability=probability; "
            "the usual ones hold the scores of the default model"
        )
    return OUT / f"decisions-{model}-{crm}.csv"


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
