"""The commands that need no service: draft, check, score, judge, distil, report, promote."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from training.options import (
    OUT,
    ConfigFile,
    Json,
    Lang,
    Leads,
    ModelName,
    SourceOptions,
    Version,
    to_write,
    with_source_options,
)
from training.terminal import emit, refuse, say


def leadloop(*, _: Version = False) -> None:
    """Predicts which leads become sales-qualified, says why, and checks itself against what happened."""


def init(
    files: Annotated[list[Path], typer.Argument(help="The exports of your CRM.")],
    out: Annotated[Path, typer.Option(help="Where to write the draft.", callback=to_write)] = Path(
        "leadloop.toml"
    ),
    *,
    force: Annotated[bool, typer.Option(help="Overwrite an existing draft.")] = False,
) -> None:
    """Look at your files and write a commented leadloop.toml."""
    from training.drafting.draft import draft
    from training.sink import write_text

    if out.exists() and not force:
        refuse(f"{out} exists; look at it, or overwrite it with --force")
    write_text(out, draft(files))
    say(f"{out} written; read its comments, then run: leadloop train --config {out}")


@with_source_options
def check(
    source: SourceOptions,
    score: Annotated[
        Path | None, typer.Option(help="Rows to score, to be compared with.", metavar="FILE")
    ] = None,
    json_: Json = None,
) -> None:
    """Look for leaks and nonsense before a model learns them."""
    from training.ahead import rows_ahead
    from training.checks import checks, in_words, to_dict
    from training.told import read_in_words
    from training.workflow import quarantine_file, read_dataset

    chosen = source.to_config()
    dataset = read_dataset(chosen, OUT)
    made = checks(dataset, rows_ahead(dataset, chosen, score))
    for line in (*read_in_words(dataset, quarantine_file(chosen, OUT)), *in_words(made)):
        say(line)
    emit(to_dict(made), json_)


def score(
    out: Annotated[
        Path, typer.Option("--out", help="Scores, CSV or Parquet.", metavar="FILE", callback=to_write)
    ],
    model: ModelName = "champion",
    leads: Leads = None,
    config: ConfigFile = None,
    explain: Annotated[int, typer.Option(help="So many reasons a lead, in words.", metavar="N")] = 0,
    contributions: Annotated[
        Path | None,
        typer.Option(
            help="Parquet: what each feature adds to each lead's log-odds.", metavar="FILE", callback=to_write
        ),
    ] = None,
    lang: Lang = "en",
    json_: Json = None,
) -> None:
    """Score a file of leads, or the open leads of a history."""
    from models.artifact import load as load_model
    from training.config import load
    from training.scoring import Wanted, score_flat, score_history

    loaded = load_model(model_dir(model))
    wanted = Wanted(out, explain, contributions, lang)
    if leads is not None:
        scored = score_flat(loaded, leads, wanted, say)
    else:
        scored = score_history(loaded, load(config or Path("leadloop.toml")), wanted, say)
    for line in scored.in_words(out):
        say(line)
    emit(scored.to_dict() | {"out": str(out)}, json_)


@with_source_options
def backtest(
    source: SourceOptions,
    origins: Annotated[int, typer.Option(help="Days of the past to stand on.", min=1)] = 5,
    incumbent: Annotated[
        Path | None, typer.Option(help="Today's points table (TOML), to be beaten.", metavar="FILE")
    ] = None,
    tune: Annotated[
        float, typer.Option(help="Tune LightGBM so long at each origin, as a rival.", metavar="SECONDS")
    ] = 0.0,
    out: Annotated[Path, typer.Option(help="Folder for the result.", metavar="DIR")] = OUT,
    json_: Json = None,
) -> None:
    """Judge on past days what was learned before them.

    Stands on several past days, learns from before, judges on after, and goes on where it was interrupted.
    """
    from training.past.backtest_record import in_words
    from training.past.backtest_run import Wanted, run
    from training.pointing.points_file import load as load_table
    from training.workflow import tracking_of

    chosen = source.to_config()
    wanted = Wanted(origins, None if incumbent is None else load_table(incumbent), tune)
    result = run(chosen, out, wanted, tracking_of(chosen, OUT), say)
    for line in in_words(result):
        say(line)
    emit(result.to_dict(), json_)


@with_source_options
def points(
    source: SourceOptions,
    incumbent: Annotated[
        Path | None, typer.Option(help="Today's points table (TOML), to be beaten.", metavar="FILE")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The table as CSV.", metavar="FILE", callback=to_write)
    ] = None,
    lang: Lang = "en",
    json_: Json = None,
) -> None:
    """Learn a table of points. It has at most 30 lines, for tools that know nothing else."""
    from training.pointing.distil import points_of
    from training.pointing.points_file import incumbent_points
    from training.pointing.points_file import load as load_table
    from training.run import fit
    from training.sink import write_text
    from training.told import read_in_words
    from training.workflow import quarantine_file, read_dataset

    chosen = source.to_config()
    dataset = read_dataset(chosen, OUT)
    for line in read_in_words(dataset, quarantine_file(chosen, OUT)):
        say(line)
    today = None if incumbent is None else incumbent_points(load_table(incumbent), dataset)
    learned = points_of(fit(dataset, chosen.training, say), incumbent=today, seed=chosen.training.seed)
    for line in learned.in_words(lang):
        say(line)
    if out is not None:
        write_text(out, learned.to_csv(lang))
    emit(learned.to_dict(lang), json_)


def report(
    run: Annotated[Path, typer.Option(help="The folder that train wrote.", metavar="DIR")] = OUT,
    lang: Lang = "en",
    out: Annotated[
        Path | None, typer.Option(help="Where to write the page.", metavar="FILE", callback=to_write)
    ] = None,
) -> None:
    """Write the report of a run again. For example in the other language."""
    from training.workflow import rendered

    say(f"report written to {rendered(run, out or run / 'report.html', lang)}")


def promote_(
    run: Annotated[str, typer.Argument(help="A run id, or a model folder.")] = "",
    *,
    back: Annotated[bool, typer.Option(help="Go back to the champion before, instead.")] = False,
    challenger: Annotated[bool, typer.Option(help="Let it only score along, beside the champion.")] = False,
    force: Annotated[str | None, typer.Option(help="Overrule the gate.", metavar="REASON")] = None,
    json_: Json = None,
) -> None:
    """Make a model the champion if it is no worse. The service gets a copy."""
    from training.promotion import promote, rollback
    from training.registry import challenge
    from training.tracking import tracking

    if bool(run) == back:
        refuse("name the run to promote, or --back to return to the champion before")
    store = tracking(OUT)
    if challenger:
        made = challenge(run, tracking=store)
        say(f"version {made.version} (model {made.model_version}) scores along where --shadow challenger is")
        emit(asdict(made), json_)
        return
    done = rollback(tracking=store) if back else promote(run, tracking=store, force=force)
    for line in done.in_words():
        say(line)
    emit(done.to_dict(), json_)


def model_dir(model: str) -> Path:
    """The folder of a model: itself, or the champion's."""
    if model != "champion":
        return Path(model)
    from training.registry import champion_dir
    from training.tracking import tracking

    champion = champion_dir(tracking=tracking(OUT))
    if champion.notice:
        say(champion.notice)
    return champion.folder
