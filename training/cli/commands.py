"""The commands init, check, score, backtest, points, report and promote."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from training.cli.console import FINDINGS, print_result, print_status, usage_error
from training.cli.options import (
    MOST_LISTED,
    OUT,
    ConfigFile,
    Json,
    Lang,
    Leads,
    ModelName,
    ProjectName,
    SourceOptions,
    TextEncoding,
    Version,
    distinct_columns,
    project_tracking,
    with_source_options,
    writable_path,
)

# The severities of findings, as `training.leakage.column_checks` has them: --help needs no Polars.
FailOn = Literal["high", "medium", "info"]


def leadloop(*, _: Version = False) -> None:
    """Predict which leads become sales-qualified, explain each score, and check it against the outcome."""


def init(
    files: Annotated[
        list[str], typer.Argument(help="The exports of your CRM, folders of them, or databases.")
    ],
    out: Annotated[Path, typer.Option(help="Where to write the draft.", callback=writable_path)] = Path(
        "leadloop.toml"
    ),
    table: Annotated[
        list[str] | None, typer.Option(help="Read only this table (repeatable).", metavar="NAME")
    ] = None,
    *,
    force: Annotated[bool, typer.Option(help="Overwrite an existing draft.")] = False,
) -> None:
    """Inspect your data and draft a commented leadloop.toml."""
    from training.config.draft import draft_configs
    from training.config.source_tables import has_password
    from training.file_output import write_text

    if out.exists() and not force:
        usage_error(f"{out} exists; look at it, or overwrite it with --force")
    first, *others = draft_configs(files, out.parent, table or ())
    for draft, file in ((first, out), *((o, out.with_stem(f"{out.stem}-{o.name}")) for o in others)):
        write_text(file, draft.text)
        for sentence in draft.summary:
            print_status(sentence)
        print_status(f"{file} written; read its comments, then run: leadloop train --config {file}")
    if any(has_password(place) for place in files):
        print_status(
            "the password is not written down: PostgreSQL reads PGPASSWORD or ~/.pgpass; for others, "
            "a user that may only read, or the export of the tables"
        )


@with_source_options
def check(
    source: SourceOptions,
    score: Annotated[
        Path | None, typer.Option(help="A file of rows to score, to compare with.", metavar="FILE")
    ] = None,
    fail_on: Annotated[
        FailOn | None,
        typer.Option("--fail-on", help="Exit with code 3 if a finding is as severe as this, or more."),
    ] = None,
    json_: Json = None,
) -> None:
    """Check the data for leaks and other faults."""
    from training.data.load import quarantine_file, read_dataset
    from training.data.rows_to_score import rows_to_score
    from training.leakage.checks import format_checks, has_finding, run_checks, to_dict
    from training.learner.encoders import find_code_columns
    from training.pipeline.messages import code_column_messages, ingest_messages, kind_suggestions

    config = source.to_config()
    dataset = read_dataset(config, OUT)
    checks = run_checks(dataset, rows_to_score(dataset, config, score))
    lines = (*ingest_messages(dataset, quarantine_file(config, OUT)), *kind_suggestions(dataset.history))
    codes = code_column_messages(find_code_columns(dataset.to_learning_rows()), dataset.names)
    for line in (*lines, *codes, *format_checks(checks, dataset.names)):
        print_status(line)
    print_result(to_dict(checks), json_)
    if fail_on is not None and has_finding(checks, fail_on):
        raise typer.Exit(FINDINGS)


def score(
    out: Annotated[
        Path, typer.Option("--out", help="Scores, CSV or Parquet.", metavar="FILE", callback=writable_path)
    ],
    model: ModelName = "champion",
    leads: Leads = None,
    encoding: TextEncoding = None,
    config: ConfigFile = None,
    explain: Annotated[int, typer.Option(help="Number of reasons per lead, in words.", metavar="N")] = 0,
    *,
    parts: Annotated[
        bool, typer.Option("--parts", help="Add fit and engagement, with grades such as B1.")
    ] = False,
    with_: Annotated[
        list[str] | None,
        typer.Option(
            "--with", help="Copy a column of the leads, such as the owner (repeatable).", metavar="COLUMN"
        ),
    ] = None,
    best_first: Annotated[
        bool, typer.Option("--best-first", help="Order the leads by score, best first.")
    ] = False,
    dates: Annotated[bool, typer.Option("--dates", help="Add the day of each score as a date.")] = False,
    contributions: Annotated[
        Path | None,
        typer.Option(
            help="Parquet file of each feature's contribution in log-odds.",
            metavar="FILE",
            callback=writable_path,
        ),
    ] = None,
    lang: Lang = "en",
    project: ProjectName = None,
    json_: Json = None,
) -> None:
    """Score a file of leads, or the open leads of a history."""
    from models.artifact import load as load_model
    from training.batch_scoring import ScoringOptions, score_flat, score_history
    from training.config.settings import load_config

    loaded = load_model(resolve_model_dir(model, project))
    options = ScoringOptions(
        out,
        explain,
        parts=parts,
        contributions=contributions,
        lang=lang,
        encoding=encoding,
        carried=distinct_columns(with_),
        best_first=best_first,
        dates=dates,
    )
    if leads is not None:
        scored = score_flat(loaded, leads, options, print_status)
    else:
        scored = score_history(loaded, load_config(config or Path("leadloop.toml")), options, print_status)
    for line in scored.in_words(out):
        print_status(line)
    print_result(scored.to_dict() | {"out": str(out)}, json_)


_TOP = 200


def leads(
    html: Annotated[
        Path, typer.Option("--html", help="The page to write.", metavar="FILE", callback=writable_path)
    ],
    model: ModelName = "champion",
    leads: Leads = None,
    encoding: TextEncoding = None,
    config: ConfigFile = None,
    top: Annotated[
        int | None,
        typer.Option(help="Number of leads, the best ones; 200 if not set.", min=1, max=MOST_LISTED),
    ] = None,
    owner: Annotated[
        str | None, typer.Option(help="The column with the owner of the lead.", metavar="COLUMN")
    ] = None,
    capacity_each: Annotated[
        int | None,
        typer.Option(help="So many leads of each owner, the best ones.", min=1, max=MOST_LISTED),
    ] = None,
    show: Annotated[
        list[str] | None,
        typer.Option(help="A column to show, such as the name (repeatable).", metavar="COLUMN"),
    ] = None,
    lang: Lang = "en",
    project: ProjectName = None,
    json_: Json = None,
) -> None:
    """Write the call list as a page, best lead first."""
    from models.artifact import load as load_model
    from training.call_list import CallListOptions, call_list_of_file, call_list_of_history
    from training.config.settings import load_config
    from training.file_output import write_text
    from training.report.call_list_page import call_list_page

    if capacity_each is not None and owner is None:
        usage_error("--capacity-each is about owners; name the column that says whose a lead is with --owner")
    loaded = load_model(resolve_model_dir(model, project))
    most = top or (_TOP if capacity_each is None else MOST_LISTED)
    options = CallListOptions(most, owner, distinct_columns(show), lang, encoding, capacity_each)
    if leads is not None:
        call_list = call_list_of_file(loaded, leads, options, print_status)
    else:
        settings = load_config(config or Path("leadloop.toml"))
        call_list = call_list_of_history(loaded, settings, options, html)
    write_text(html, call_list_page(call_list, lang), private=True)
    print_status(f"{len(call_list.leads):,} of {call_list.open_leads:,} open leads in {html}, the best first")
    print_result(call_list.to_dict() | {"html": str(html)}, json_)


@with_source_options
def backtest(
    source: SourceOptions,
    origins: Annotated[int, typer.Option(help="Number of past days to train up to.", min=1)] = 5,
    incumbent: Annotated[
        Path | None, typer.Option(help="Today's points table (TOML), to compare with.", metavar="FILE")
    ] = None,
    tune: Annotated[
        float, typer.Option(help="Also tune LightGBM for so long at each day, to compare.", metavar="SECONDS")
    ] = 0.0,
    out: Annotated[Path, typer.Option(help="Folder for the result.", metavar="DIR")] = OUT,
    json_: Json = None,
) -> None:
    """Measure models on past days (rolling origin).

    Stands on several past days, learns from before, judges on after, and goes on where it was interrupted.
    """
    from training.backtesting.reporting import format_backtest
    from training.backtesting.run import BacktestOptions, run_backtest
    from training.pipeline.train import resolve_tracking
    from training.points.table_file import load_points_table as load_table

    config = source.to_config()
    options = BacktestOptions(origins, None if incumbent is None else load_table(incumbent), tune)
    result = run_backtest(config, out, options, resolve_tracking(config, OUT), print_status)
    for line in format_backtest(result):
        print_status(line)
    print_result(result.to_dict(), json_)


@with_source_options
def points(
    source: SourceOptions,
    incumbent: Annotated[
        Path | None, typer.Option(help="Today's points table (TOML), to compare with.", metavar="FILE")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The table as CSV.", metavar="FILE", callback=writable_path)
    ] = None,
    lang: Lang = "en",
    json_: Json = None,
) -> None:
    """Learn a points table. It has at most 30 lines, for tools that work with points only."""
    from training.data.load import quarantine_file, read_dataset
    from training.file_output import write_text
    from training.pipeline.fit_model import train_model
    from training.pipeline.messages import ingest_messages
    from training.points.distillation import distil_points
    from training.points.table_file import current_points
    from training.points.table_file import load_points_table as load_table

    config = source.to_config()
    dataset = read_dataset(config, OUT)
    for line in ingest_messages(dataset, quarantine_file(config, OUT)):
        print_status(line)
    current = None if incumbent is None else current_points(load_table(incumbent), dataset)
    table = distil_points(
        train_model(dataset, config.training, print_status, config.plugins),
        incumbent=current,
        seed=config.training.seed,
    )
    for line in table.in_words(lang):
        print_status(line)
    if out is not None:
        write_text(out, table.to_csv(lang))
    print_result(table.to_dict(lang), json_)


def report(
    run: Annotated[Path, typer.Option(help="The folder that train wrote.", metavar="DIR")] = OUT,
    lang: Lang = "en",
    out: Annotated[
        Path | None, typer.Option(help="Where to write the page.", metavar="FILE", callback=writable_path)
    ] = None,
    *,
    board: Annotated[
        bool, typer.Option("--board", help="Write the board page alone: one screen, one sheet of A4.")
    ] = False,
    xlsx: Annotated[
        Path | None,
        typer.Option(
            help="Write all tables to an Excel file instead of the page, with a sheet for each.",
            metavar="FILE",
            callback=writable_path,
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            help="Print what changed beyond chance since the last report in the folder (last), or since "
            "another report.json.",
            metavar="last|FILE",
        ),
    ] = None,
    email: Annotated[
        Path | None,
        typer.Option(
            help="Write this digest as an HTML e-mail, and as text beside it.",
            metavar="FILE",
            callback=writable_path,
        ),
    ] = None,
) -> None:
    """Write the report of a run again: in German, its board page alone, its tables, or what changed."""
    from training.file_output import write_text
    from training.pipeline.train import LAST, REPORT_DATA, digest_report, read_report_data, rerender_report

    if since is not None or email is not None:
        digest = digest_report(run, since or LAST, lang)
        if email is None:
            typer.echo(digest.to_text(), nl=False)
        else:
            text = email.with_suffix(".txt")
            write_text(email, digest.to_html(lang))
            write_text(text, digest.to_text())
            print_status(f"digest written to {email} and {text}")
    if xlsx is not None:
        from training.report.workbook import write_workbook

        write_workbook(read_report_data(run / REPORT_DATA), xlsx, lang)
        print_status(f"tables written to {xlsx}")
    if board or out is not None or (xlsx, since, email) == (None, None, None):
        page = rerender_report(
            run, out or run / ("board.html" if board else "report.html"), lang, board=board
        )
        print_status(f"{'board page' if board else 'report'} written to {page}")


def promote(
    run: Annotated[str, typer.Argument(help="A run id or a model folder.")] = "",
    *,
    back: Annotated[bool, typer.Option(help="Go back to the earlier champion.")] = False,
    challenger: Annotated[bool, typer.Option(help="Make it the challenger, which is only logged.")] = False,
    force: Annotated[
        str | None,
        typer.Option(help="Promote although the check fails; the reason is kept.", metavar="REASON"),
    ] = None,
    project: ProjectName = None,
    json_: Json = None,
) -> None:
    """Make a model the champion if it is no worse. Services that follow it load it."""
    from training.registry.promotion import promote_model, rollback
    from training.registry.registry import set_challenger

    if bool(run) == back:
        usage_error("name the run to promote, or --back to return to the champion before")
    store = project_tracking(project)
    if challenger:
        promotion = set_challenger(run, tracking=store, force=force)
        print_status(
            f"version {promotion.version} (model {promotion.model_version}) scores along "
            "where --shadow challenger is"
        )
        print_result(asdict(promotion), json_)
        return
    result = rollback(tracking=store) if back else promote_model(run, tracking=store, force=force)
    for line in result.in_words():
        print_status(line)
    print_result(result.to_dict(), json_)


def resolve_model_dir(model: str, project: str | None = None) -> Path:
    """The folder of a model: ``model`` itself, or for "champion" that of the project's champion."""
    if model != "champion":
        return Path(model)
    from training.registry.registry import champion_dir

    champion = champion_dir(tracking=project_tracking(project, draw=False))
    if champion.notice:
        print_status(champion.notice)
    return champion.folder
