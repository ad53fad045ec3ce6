"""The commands init, check, score, parts, backtest, points, report and promote."""

from __future__ import annotations

import os
import re
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from training.cli.console import FINDINGS, print_next, print_result, print_status, show_progress, usage_error
from training.cli.options import (
    MOST_LISTED,
    OUT,
    ConfigFile,
    HistoryConfig,
    Json,
    Lang,
    Leads,
    ModelName,
    OutputFolder,
    PointsFile,
    ProjectName,
    SourceOptions,
    TextEncoding,
    Version,
    creatable_folder,
    default_config,
    distinct_columns,
    model_folder,
    project_tracking,
    readable_path,
    with_source_options,
    writable_output,
    writable_path,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from models.conversion import ConversionModel
    from training.batch_scoring import ScoringOptions
    from training.data.feature_table import FeatureTable
    from training.points.learned_table import LearnedScorecard

# The severities of findings, as `training.leakage.column_checks` has them: --help needs no Polars.
FailOn = Literal["high", "medium", "info"]
# The tools of `training.points.list_filters`.
ListTool = Literal["hubspot", "mautic", "pardot"]
Engine = Literal["polars", "spark"]


def leadloop(*, _: Version = False) -> None:
    """Predict which leads become sales-qualified, explain each score, and check it against the outcome."""


def init(
    files: Annotated[
        list[str],
        typer.Argument(help="The exports of your CRM, folders of them, or databases.", metavar="FILES..."),
    ],
    out: Annotated[
        Path, typer.Option(help="Where to write the draft.", metavar="FILE", callback=writable_path)
    ] = Path("leadloop.toml"),
    table: Annotated[
        list[str] | None, typer.Option(help="Read only this table (repeatable).", metavar="NAME")
    ] = None,
    *,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing draft.")] = False,
    json_: Json = None,
) -> None:
    """Inspect your data and draft a commented leadloop.toml."""
    if out.exists() and not force:
        usage_error(f"{out} exists; look at it, or overwrite it with --force")
    if missing := [place for place in files if "://" not in place and not Path(place).exists()]:
        usage_error(f"{missing[0]} does not exist")
    from training.config.defaults import SCHEMA_FILE
    from training.config.draft import draft_configs
    from training.config.json_schema import schema_text
    from training.config.source_tables import has_password
    from training.file_output import write_text

    first, *others = draft_configs(files, out.parent, table or ())
    written: list[dict[str, object]] = []
    schema = out.parent / SCHEMA_FILE
    schema.parent.mkdir(exist_ok=True)
    write_text(schema, schema_text())
    for draft, file in ((first, out), *((o, out.with_stem(f"{out.stem}-{o.name}")) for o in others)):
        write_text(file, f"#:schema ./{SCHEMA_FILE}\n{draft.text}")
        for sentence in draft.summary:
            print_status(sentence)
        written.append({"file": str(file), "layout": draft.name, "summary": list(draft.summary)})
        print_status(f"{file} written; read its comments and correct it")
        print_next(f"leadloop check --config {file}")
    if any(has_password(place) for place in files):
        print_status(
            "the password is not written down: PostgreSQL reads PGPASSWORD or ~/.pgpass; for others, "
            "a user that may only read, or the export of the tables"
        )
    print_result({"drafts": written}, json_)


@with_source_options
def check(
    source: SourceOptions,
    score: Annotated[
        Path | None,
        typer.Option(
            help="A file of rows to score, to compare with.", metavar="FILE", callback=readable_path
        ),
    ] = None,
    fail_on: Annotated[
        FailOn | None,
        typer.Option("--fail-on", help="Exit with code 3 if a finding is as severe as this, or more."),
    ] = None,
    json_: Json = None,
) -> None:
    """Check the data for leaks and other faults."""
    source.check()
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
    print_next("leadloop train" if source.configuration else f"leadloop train --leads {source.leads} ...")
    print_result(to_dict(checks), json_)
    if fail_on is not None and has_finding(checks, fail_on):
        raise typer.Exit(FINDINGS)


def score(
    out: Annotated[
        Path, typer.Option("--out", help="Scores, CSV or Parquet.", metavar="FILE", callback=writable_output)
    ],
    model: ModelName = "champion",
    leads: Leads = None,
    encoding: TextEncoding = None,
    config: ConfigFile = None,
    features: Annotated[
        str | None,
        typer.Option(
            help="Score a table of features: a file, or a table of the configured database.",
            metavar="TABLE|FILE",
        ),
    ] = None,
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
    workers: Annotated[
        int, typer.Option(help="Processes that score parts of a history at the same time.", min=1)
    ] = 1,
    parts_dir: Annotated[
        Path | None,
        typer.Option(
            "--parts-dir",
            help="A history in folders of parts, as leadloop parts writes them.",
            metavar="DIR",
            callback=readable_path,
        ),
    ] = None,
    engine: Annotated[
        Engine, typer.Option(help="What computes: this machine, or a Spark session.")
    ] = "polars",
    lang: Lang = "en",
    project: ProjectName = None,
    json_: Json = None,
) -> None:
    """Score a file of leads, the open leads of a history, or features that a warehouse computed."""
    sources: dict[str, object] = {"--leads": leads, "--parts-dir": parts_dir, "--features": features}
    _require_one_source(sources, config)
    many: dict[str, object] = {"--workers": workers > 1}
    refuse_beside("--parts-dir", parts_dir, {"--config": config})
    refuse_beside("--features", features, many)
    of_files = sources | {"--encoding": encoding, "--contributions": contributions} | many
    refuse_beside("--engine spark", engine == "spark", of_files)
    if engine == "spark":
        require_spark_target(out)
    folder = resolve_model_dir(model, project)
    from training.batch_scoring import ScoringOptions, score_feature_table, score_flat, score_history

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
    if engine == "spark":
        _score_on_spark(folder, config, options, json_)
        return
    from models.artifact import load as load_model
    from models.lightgbm_import import import_lightgbm_alone
    from training.config.settings import load_config
    from training.part_scoring import score_part_folders
    from training.worker_pool import Workers

    import_lightgbm_alone(folder)
    loaded = load_model(folder)
    with show_progress("scoring") as say:
        if parts_dir is not None:
            scored = score_part_folders(loaded, parts_dir, options, say, Workers(workers, folder))
        elif features is not None:
            scored = score_feature_table(loaded, _feature_table(features, config, loaded), options, say)
        elif leads is not None:
            scored = score_flat(loaded, leads, options, say)
        else:
            settings = load_config(config or Path("leadloop.toml"))
            scored = score_history(loaded, settings, options, say, Workers(workers, folder))
    for line in scored.in_words(out):
        print_status(line)
    print_next(f"leadloop push CRM --scores {out} shows what it would send to your CRM")
    print_result(scored.to_dict() | {"out": str(out)}, json_)


def parts(
    out: Annotated[
        Path,
        typer.Option("--out", help="A new folder for the parts.", metavar="DIR", callback=creatable_folder),
    ],
    model: ModelName = "champion",
    config: HistoryConfig = None,
    with_: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            help="Take a column of the leads along, such as the owner (repeatable).",
            metavar="COLUMN",
        ),
    ] = None,
    part_size: Annotated[
        int, typer.Option(help="About how many leads a part has.", metavar="LEADS", min=1)
    ] = 25_000,
    project: ProjectName = None,
    json_: Json = None,
) -> None:
    """Cut a large history into folders of parts, to be scored by many processes or machines."""
    _require_leads(None, config)
    folder = resolve_model_dir(model, project)
    from models.artifact import load as load_model
    from training.config.settings import load_config
    from training.part_scoring import write_history_parts

    settings = load_config(config or Path("leadloop.toml"))
    loaded = load_model(folder)
    with show_progress("cutting") as say:
        cut = write_history_parts(loaded, settings, out, say, distinct_columns(with_), part_size)
    for line in cut.in_words(out):
        print_status(line)
    named = "" if model == "champion" else f" --model {model}"
    print_next(f"leadloop score{named} --parts-dir {out} --out scores.parquet --workers 2")
    print_result(cut.to_dict() | {"out": str(out)}, json_)


def refuse_beside(option: str, value: object, others: Mapping[str, object]) -> None:
    """Refuse an option that has a value beside others that it would not follow."""
    named = [name for name, other in others.items() if other]
    if value and named:
        usage_error(f"{option} does not go with {named[0]}; leave one of them out")


def require_spark_target(out: Path | None) -> Path:
    """The name of what Spark writes; none, and that of a text file, is refused."""
    if out is None or out.suffix in {".csv", ".txt", ".tsv"}:
        usage_error("Spark writes a folder that ends in .parquet, or a table; give --out such a name")
    return out


def _score_on_spark(model: Path, config: Path | None, options: ScoringOptions, json_: Json) -> None:
    """Score the open leads of a history by a Spark session."""
    from training.config.settings import load_config
    from training.spark.session import open_spark_session, write_spark_table
    from training.spark.spark_history import read_spark_history

    settings = load_config(config or Path("leadloop.toml"))
    out = options.out
    quarantine = settings.quarantine.file or out.with_name(f"{out.stem}.quarantine.csv")
    with show_progress("scoring") as say:
        say("Spark cuts the history into parts and reads them")
        history = read_spark_history(
            open_spark_session(), settings, model, options.carried, quarantine_file=quarantine
        )
        rows = history.scores(
            options.reasons, options.lang, fit_and_engagement=options.parts, dates=options.dates
        )
        say("Spark scores the parts")
        ordered = rows.orderBy(rows.log_odds.desc_nulls_last()) if options.best_first else rows
        result = history.count_scores(write_spark_table(ordered, out))
        history.unpersist()
    for line in (*history.notices, *result.in_words(out)):
        print_status(line)
    if out.suffix == ".parquet":
        print_next(f"leadloop push CRM --scores {out} shows what it would send to your CRM")
    print_result(result.to_dict() | {"out": str(out)}, json_)


def _feature_table(place: str, config: Path | None, model: ConversionModel) -> FeatureTable:
    """The table of a model's features: a file, or a table of the database of the configured leads."""
    from training.data.feature_table import find_feature_table, open_feature_table

    settings = default_config(config)
    database = None if settings is None or settings.leads is None else settings.leads.database
    return open_feature_table(find_feature_table(place, database), model.features)


def _require_one_source(sources: Mapping[str, object], config: Path | None) -> None:
    """Refuse a command that more than one option tells which leads to read, or nothing does."""
    named = [name for name, value in sources.items() if value is not None]
    if len(named) > 1:
        usage_error(f"{named[0]} replaces {named[1]}; leave one of them out")
    if not named:
        _require_leads(None, config)


def _require_leads(leads: Path | None, config: Path | None) -> None:
    """Refuse a command that reads leads where nothing says which."""
    if leads is None and config is None and not Path("leadloop.toml").is_file():
        usage_error("no leads are named: name a file with --leads, or a configuration with --config")


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
    handover: Annotated[
        Path | None,
        typer.Option(
            help="The service's plan: a list for each owner.", metavar="FILE", callback=readable_path
        ),
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
    if handover is not None and (owner is not None or capacity_each is not None):
        usage_error("the plan says whose the leads are and how many; leave --owner and --capacity-each out")
    if capacity_each is not None and owner is None:
        usage_error("--capacity-each counts leads by owner; name the column of the owner with --owner")
    _require_leads(leads, config)
    from models.handover_plan import read_plan

    plan = None if handover is None else read_plan(handover)
    if plan is not None and plan.has_owners and top is not None:
        usage_error(f"{handover} says how many leads each owner takes; leave --top out")
    folder = resolve_model_dir(model, project)
    from features.clock import DAY
    from models.artifact import load as load_model
    from training.call_list import CallListOptions, call_list_of_file, call_list_of_history
    from training.config.settings import load_config
    from training.file_output import write_text
    from training.report.call_list_page import call_list_page

    loaded = load_model(folder)
    most = top or (_TOP if capacity_each is None else MOST_LISTED)
    today = int(time.time()) // DAY * DAY
    columns = distinct_columns(show)
    options = CallListOptions(most, owner, columns, lang, encoding, capacity_each, plan, today)
    if leads is not None:
        call_list = call_list_of_file(loaded, leads, options, print_status)
    else:
        settings = load_config(config or Path("leadloop.toml"))
        call_list = call_list_of_history(loaded, settings, options, html)
    write_text(html, call_list_page(call_list, lang), private=True)
    for line in call_list.in_words(html):
        print_status(line)
    print_result(call_list.to_dict() | {"html": str(html)}, json_)


@with_source_options
def backtest(
    source: SourceOptions,
    origins: Annotated[int, typer.Option(help="Number of past days to train up to.", min=1)] = 5,
    incumbent: PointsFile = None,
    tune: Annotated[
        float, typer.Option(help="Also tune LightGBM for so long at each day, to compare.", metavar="SECONDS")
    ] = 0.0,
    out: OutputFolder = OUT,
    json_: Json = None,
) -> None:
    """Measure models on past days (rolling origin).

    Stands on several past days, learns from before, judges on after, and goes on where it was interrupted.
    """
    source.check()
    from training.backtesting.reporting import format_backtest
    from training.backtesting.run import BacktestOptions, run_backtest
    from training.pipeline.train import resolve_tracking
    from training.points.table_file import load_points_table as load_table

    config = source.to_config()
    options = BacktestOptions(origins, None if incumbent is None else load_table(incumbent), tune)
    with show_progress("backtest") as say:
        result = run_backtest(config, out, options, resolve_tracking(config, OUT), say)
    for line in format_backtest(result):
        print_status(line)
    print_next("leadloop train")
    print_result(result.to_dict(), json_)


@with_source_options
def points(
    source: SourceOptions,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help="A model folder, or champion: its table, as its report has it. Nothing is trained.",
            metavar="DIR",
            callback=model_folder,
        ),
    ] = None,
    incumbent: PointsFile = None,
    out: Annotated[
        Path | None, typer.Option(help="The table as CSV.", metavar="FILE", callback=writable_path)
    ] = None,
    lists: Annotated[
        ListTool | None,
        typer.Option("--lists", help="Write the conditions as filters of lists of this tool."),
    ] = None,
    lang: Lang = "en",
    project: ProjectName = None,
    json_: Json = None,
) -> None:
    """Show a points table of at most 30 lines, for tools that work with points only.

    With --model, the table of a trained model; without it, a model is trained first.
    """
    if model is not None and (source.leads is not None or source.config is not None or incumbent is not None):
        usage_error("--model has a table already; leave --leads, --config and --incumbent out")
    table = _learn_table(source, incumbent) if model is None else _table_of(resolve_model_dir(model, project))
    from training.file_output import write_text
    from training.points.list_filters import describe_filters, filter_records, filters_csv, list_filters

    filters = [] if lists is None else list_filters(table, lists, lang)
    for line in table.in_words(lang) if lists is None else describe_filters(filters, lists, lang):
        print_status(line)
    if out is not None:
        write_text(out, table.to_csv(lang) if lists is None else filters_csv(filters))
    result = table.to_dict(lang)
    print_result(result if lists is None else result | {"lists": filter_records(filters)}, json_)


def _table_of(folder: Path) -> LearnedScorecard:
    """The points table that training wrote beside a model."""
    from training.points.learned_table import FILE, LearnedScorecard

    file = folder / FILE
    if not file.is_file():
        usage_error(
            f"{folder} has no points table: it is of an earlier release, or no condition was worth a point; "
            " leave out --model to train one"
        )
    return LearnedScorecard.from_json(file.read_text(encoding="utf-8"))


def _learn_table(source: SourceOptions, incumbent: Path | None) -> LearnedScorecard:
    """The points table of a model that is trained for it, as a training run would write it."""
    source.check()
    from training.analysis.inputs import report_settings
    from training.data.dataset import NoLabelledRowsError
    from training.data.load import quarantine_file, read_dataset
    from training.pipeline.fit_model import train_model
    from training.pipeline.messages import ingest_messages
    from training.points.distillation import learn_points
    from training.points.table_file import load_points_table as load_table

    config = source.to_config()
    today = report_settings(config).points if incumbent is None else load_table(incumbent)
    with show_progress("training") as say:
        dataset = read_dataset(config, OUT)
        for line in ingest_messages(dataset, quarantine_file(config, OUT)):
            say(line)
        fitted = train_model(dataset, config.training, say, config.plugins)
        table = learn_points(fitted, today, config.training.seed)
    if table is None:
        msg = "no condition on these leads is worth a point, so there is no points table"
        raise NoLabelledRowsError(msg)
    return table


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
    monitor: Annotated[
        Path | None,
        typer.Option(
            help="Show the verdict in this file of monitor --json. Default: monitor.json in the folder.",
            metavar="FILE",
            callback=readable_path,
            show_default=False,
        ),
    ] = None,
    json_: Json = None,
) -> None:
    """Write the report of a run again: in German, its board page alone, its tables, or what changed."""
    if not (run / "report.json").is_file():
        usage_error(f"{run / 'report.json'} does not exist; `leadloop train --out {run}` writes it")
    from training.file_output import write_text
    from training.pipeline.train import LAST, REPORT_DATA, digest_report, read_report_data, rerender_report

    written: dict[str, str] = {}
    if since is not None or email is not None:
        digest = digest_report(run, since or LAST, lang)
        if email is None:
            typer.echo(digest.to_text(), nl=False)
        else:
            text = email.with_suffix(".txt")
            write_text(email, digest.to_html(lang))
            write_text(text, digest.to_text())
            written |= {"email": str(email), "text": str(text)}
            print_status(f"digest written to {email} and {text}")
    if xlsx is not None:
        from training.report.workbook import write_workbook

        write_workbook(read_report_data(run / REPORT_DATA), xlsx, lang)
        written["xlsx"] = str(xlsx)
        print_status(f"tables written to {xlsx}")
    if board or out is not None or (xlsx, since, email) == (None, None, None):
        page = out or run / ("board.html" if board else "report.html")
        with show_progress("writing the report"):
            page = rerender_report(run, page, lang, board=board, monitor=monitor)
        written["report"] = str(page)
        print_status(f"{'board page' if board else 'report'} written to {page}; open it in a browser")
    print_result(written | {"lang": lang}, json_)


_RUN_ID = re.compile(r"[0-9a-fA-F]{32}")


def promote(
    run: Annotated[str, typer.Argument(help="A run id or a model folder.", metavar="RUN")] = "",
    *,
    back: Annotated[bool, typer.Option("--back", help="Go back to the earlier champion.")] = False,
    challenger: Annotated[
        bool, typer.Option("--challenger", help="Make it the challenger, which is only logged.")
    ] = False,
    force: Annotated[
        str | None,
        typer.Option(help="Promote although the check fails; the reason is kept.", metavar="REASON"),
    ] = None,
    project: ProjectName = None,
    json_: Json = None,
) -> None:
    """Make a model the champion if it is no worse. Services that follow it load it."""
    if bool(run) == back:
        usage_error("name the run to promote, or use --back for the earlier champion")
    if run and not Path(run).is_dir() and not _RUN_ID.fullmatch(run):
        usage_error(f"{run} is neither a folder nor a tracked run; name what `leadloop train` printed")
    from training.registry.promotion import promote_model, rollback
    from training.registry.registry import set_challenger

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
    print_next("leadloop serve, or leadloop score --out scores.csv")
    print_result(result.to_dict(), json_)


# Without any of these no champion can be known; to look for one takes seconds.
_PLACES = ("LEADLOOP_PROJECT", "MLFLOW_TRACKING_URI")
_FILES = (OUT, Path("leadloop.toml"))


def resolve_model_dir(model: str, project: str | None = None) -> Path:
    """The folder of a model: ``model`` itself, or for "champion" that of the project's champion."""
    if model != "champion":
        return Path(model)
    if project is None and not any(map(os.environ.get, _PLACES)) and not any(map(Path.exists, _FILES)):
        usage_error(
            "there is no champion of this folder: run `leadloop train`, then `leadloop promote`; "
            "or name a model folder with --model; `leadloop models` lists what other projects have"
        )
    from training.registry.registry import champion_dir

    champion = champion_dir(tracking=project_tracking(project, draw=False))
    if champion.notice:
        print_status(champion.notice)
    return champion.folder
