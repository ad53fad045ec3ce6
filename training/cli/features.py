"""The command features: a model's own features as SQL for a warehouse."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from training.cli.commands import refuse_beside, require_spark_target, resolve_model_dir
from training.cli.console import print_next, print_result, print_status, show_progress, usage_error
from training.cli.options import (
    HistoryConfig,
    Json,
    ModelName,
    ProjectName,
    default_config,
    writable_output,
)

if TYPE_CHECKING:
    from features.warehouse.sql import OpenLeads, TrainingSnapshots
    from models.model_card import ModelCard
    from training.config.settings import Config

# The warehouses of `features.warehouse.dialects`: --help needs no SQLGlot.
Dialect = Literal["snowflake", "bigquery", "databricks", "postgres", "trino"]


class MissingWarehouseError(ValueError):
    """The packages that write SQL are not installed; the message says which extra has them."""


def _day(text: str | None) -> str | None:
    """The callback of ``--as-of``; refuses what is no date before any work is done."""
    if text is not None:
        try:
            datetime.fromisoformat(text)
        except ValueError:
            msg = f"{text!r} is no date; write it as 2026-11-30, or with a time in UTC"
            raise typer.BadParameter(msg) from None
    return text


def features(
    sql: Annotated[Dialect | None, typer.Option("--sql", help="The warehouse whose SQL is written.")] = None,
    engine: Annotated[
        Literal["spark"] | None, typer.Option(help="Compute them in a Spark session, instead.")
    ] = None,
    model: ModelName = "champion",
    as_of: Annotated[
        str | None,
        typer.Option(
            help="The day of the snapshots, at 0:00 UTC; of a training set the end of what is known. "
            "Default: when the query runs.",
            metavar="DATE",
            callback=_day,
        ),
    ] = None,
    config: HistoryConfig = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Write the SQL to a file, or the features to a table of Spark. Default: standard output.",
            metavar="FILE",
            callback=writable_output,
        ),
    ] = None,
    *,
    canonical: Annotated[
        bool,
        typer.Option("--canonical", help="The tables have leadloop's own columns, whatever [leads] says."),
    ] = False,
    training_set: Annotated[
        bool, typer.Option("--training-set", help="Labelled snapshots to train with, not the open leads.")
    ] = False,
    sample: Annotated[
        float | None,
        typer.Option(
            help="With --training-set: the share of leads to take, from 0 to 1.",
            metavar="SHARE",
            min=0,
            max=1,
        ),
    ] = None,
    project: ProjectName = None,
    json_: Json = None,
) -> None:
    """Write the model's features as one SELECT for your warehouse, or compute them with Spark."""
    if engine is not None:
        of_sql = {"--sql": sql, "--as-of": as_of, "--sample": sample, "--canonical": canonical}
        refuse_beside("--engine spark", engine, of_sql)
        target = require_spark_target(out)
        _compute_on_spark(resolve_model_dir(model, project), config, target, json_, training_set=training_set)
        return
    if sql is None:
        usage_error("say who computes the features: --sql WAREHOUSE, or --engine spark")
    _refuse_sample(sample, training_set=training_set)
    if out is None and json_ == "-":
        usage_error("the SQL and the result cannot both go to standard output; name a file with --out")
    folder = resolve_model_dir(model, project)
    from models.artifact import load
    from training.file_output import write_text

    try:
        from features.warehouse.sql import features_to_sql
    except ImportError as error:
        msg = (
            f"SQL of features is an extra ({error.name} is not installed): pip install 'leadloop[warehouse]'"
        )
        raise MissingWarehouseError(msg) from error
    from features.warehouse.source_columns import name_source_columns
    from features.warehouse.table_columns import table_columns

    loaded, settings = load(folder), default_config(config)
    if loaded.card.flat:
        usage_error("the model was trained on a flat export; its table needs no SQL, score it with --leads")
    snapshots = _snapshots(loaded.card, settings, as_of, training_set=training_set, share=sample or 1.0)
    mapping = None if canonical or settings is None else name_source_columns(settings.history_mapping)
    text = features_to_sql(loaded.features, sql, snapshots, mapping)
    if out is None:
        typer.echo(text, nl=False)
    else:
        write_text(out, text)
        print_status(f"{len(loaded.features):,} features of {loaded.version} written as SQL to {out}")
    print_status("the head of the query says what it takes for granted:")
    for line in _notes(text):
        print_status(f"- {line}")
    print_next(
        "leadloop train --training-set FILE, once the warehouse has made the table"
        if training_set
        else "leadloop score --features TABLE --out scores.csv, once the warehouse has made the table"
    )
    columns = table_columns(loaded.features.names)
    result = {"feature_set": loaded.features.fingerprint, "columns": columns, "out": str(out)}
    print_result(result, json_)


def _refuse_sample(sample: float | None, *, training_set: bool) -> None:
    if sample is not None and not training_set:
        usage_error("--sample takes a share of the leads of a training set; add --training-set")
    if sample == 0:
        usage_error("--sample 0 takes no leads; a hundredth of them is --sample 0.01")


def _compute_on_spark(
    model: Path, config: Path | None, out: Path, json_: Json, *, training_set: bool
) -> None:
    """Compute the features of the open leads, or a training set, as a table of Spark."""
    from training.config.settings import load_config
    from training.spark.session import open_spark_session, write_spark_table
    from training.spark.spark_history import read_spark_history

    settings = load_config(config or Path("leadloop.toml"))
    quarantine = settings.quarantine.file or out.with_name(f"{out.stem}.quarantine.csv")
    with show_progress("computing") as say:
        say("Spark cuts the history into parts and reads them")
        history = read_spark_history(open_spark_session(), settings, model, quarantine_file=quarantine)
        rows = history.training_set() if training_set else history.features()
        say("Spark computes the features of the parts")
        count = write_spark_table(rows, out).count()
        history.unpersist()
    for line in (*history.notices, *history.quarantine.unreadable.examples()):
        print_status(line)
    print_status(f"{count:,} rows of features in {out}; {history.quarantine.total}")
    print_next(
        f"leadloop train --training-set {out}"
        if training_set
        else f"leadloop score --features {out} --out scores.csv"
    )
    print_result(
        {
            "rows": count,
            "unreadable": len(history.quarantine.unreadable),
            "columns": rows.columns,
            "out": str(out),
        },
        json_,
    )


def _notes(sql: str) -> list[str]:
    """What the comment of a query says after its first line."""
    return [line.removeprefix("-- ") for line in sql.splitlines() if line.startswith("-- ")][1:]


def _snapshots(
    card: ModelCard, config: Config | None, as_of: str | None, *, training_set: bool, share: float
) -> OpenLeads | TrainingSnapshots:
    """Which snapshots the query takes."""
    from features.clock import to_epoch
    from features.cohort import CohortRule
    from features.warehouse.sql import OpenLeads, TrainingSnapshots

    stamp = None if as_of is None else datetime.fromisoformat(as_of)
    moment = None if stamp is None else to_epoch(stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC))
    if training_set:
        if config is None:
            usage_error("a training set needs [label] and [cohort]; name the configuration with --config")
        until = config.observed_until if moment is None else moment
        if until is None:
            usage_error("say up to when the tables are complete, as labels depend on it: --as-of DATE")
        return TrainingSnapshots(config.cohort_rule, config.label_spec, int(until), share)
    if config is not None:
        return OpenLeads(config.cohort_rule, moment)
    if not card.closed_stages:
        usage_error("the model does not say which stages close a lead; name the configuration with --config")
    return OpenLeads(CohortRule(closed=card.closed_stages, reopen=card.reopen_stages), moment)
