"""The command line: parses, calls, prints. A command imports only what it needs, so --help is instant."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from training.options import ConfigFile, Exclude, Id, Json, Label, Lang, Leads, ModelName, Time, configured
from training.terminal import emit, refuse, say, spoken

app = typer.Typer(
    help="Predicts which leads become sales-qualified, says why, and checks itself against what happened.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
OUT = Path("leadloop-out")


@app.command()
def init(
    files: Annotated[list[Path], typer.Argument(help="The exports of your CRM.")],
    out: Annotated[Path, typer.Option(help="Where to write the draft.")] = Path("leadloop.toml"),
    *,
    force: Annotated[bool, typer.Option(help="Overwrite an existing draft.")] = False,
) -> None:
    """Look at your files and write a commented leadloop.toml."""
    from training.draft import draft

    if out.exists() and not force:
        refuse(f"{out} exists; look at it, or overwrite it with --force")
    out.write_text(draft(files), encoding="utf-8")
    say(f"{out} written; read its comments, then run: leadloop train --config {out}")


@app.command()
def check(
    leads: Leads = None,
    id_: Id = None,
    label: Label = None,
    time: Time = None,
    exclude: Exclude = "",
    config: ConfigFile = None,
    json_: Json = None,
) -> None:
    """Look for leaks and nonsense in the data before a model learns them."""
    from training.checks import checks, in_words, to_dict
    from training.workflow import QUARANTINE, read_dataset, read_in_words

    chosen = configured(config, leads, id_, label, time, exclude)
    dataset = read_dataset(chosen, OUT)
    made = checks(dataset)
    for line in (*read_in_words(dataset, chosen.quarantine.file or OUT / QUARANTINE), *in_words(made)):
        say(line)
    emit(to_dict(made), json_)


@app.command()
def train(
    leads: Leads = None,
    id_: Id = None,
    label: Label = None,
    time: Time = None,
    exclude: Exclude = "",
    config: ConfigFile = None,
    holdout: Annotated[
        Path | None, typer.Option(help="A second file with outcomes to be judged by.", metavar="FILE")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for model and report.", metavar="DIR")] = OUT,
    json_: Json = None,
) -> None:
    """Train, track and save a model."""
    from training.workflow import tracking_of
    from training.workflow import train as run

    chosen = configured(config, leads, id_, label, time, exclude)
    trained = run(chosen, out, tracking_of(chosen, OUT), holdout=holdout, say=say)
    emit(trained.to_dict(), json_)


@app.command()
def score(
    out: Annotated[Path, typer.Option("--out", help="Scores, CSV or Parquet.", metavar="FILE")],
    model: ModelName = "champion",
    leads: Leads = None,
    config: ConfigFile = None,
    explain: Annotated[int, typer.Option(help="So many reasons a lead, in words.", metavar="N")] = 0,
    contributions: Annotated[
        Path | None,
        typer.Option(help="Parquet: what each feature adds to each lead's log-odds.", metavar="FILE"),
    ] = None,
    lang: Lang = "en",
    json_: Json = None,
) -> None:
    """Score the leads of a file, or the open leads of a configured history."""
    from models.artifact import load as load_model
    from training.config import load
    from training.scoring import Wanted, score_flat, score_history

    loaded = load_model(_model_dir(model))
    wanted = Wanted(out, explain, contributions, lang)
    if leads is not None:
        scored = score_flat(loaded, leads, wanted, say)
    else:
        scored = score_history(loaded, load(config or Path("leadloop.toml")), wanted, say)
    for example in scored.quarantine.examples():
        say(example)
    say(f"{scored.leads:,} scores in {out}; {len(scored.quarantine):,} cells or rows could not be read")
    emit({"leads": scored.leads, "out": str(out), "unreadable": len(scored.quarantine)}, json_)


@app.command()
def backtest(
    leads: Leads = None,
    id_: Id = None,
    label: Label = None,
    time: Time = None,
    exclude: Exclude = "",
    config: ConfigFile = None,
    origins: Annotated[int, typer.Option(help="Days of the past to stand on.", min=1)] = 5,
    out: Annotated[Path, typer.Option(help="Folder for the result.", metavar="DIR")] = OUT,
    json_: Json = None,
) -> None:
    """Stand on several past days, learn from before, judge on after; go on where it was interrupted."""
    from training.past.backtest_record import in_words
    from training.past.backtest_run import run
    from training.past.challengers import logistic_regression, plain_lightgbm
    from training.workflow import tracking_of

    chosen = configured(config, leads, id_, label, time, exclude)
    others = (logistic_regression(), plain_lightgbm())
    store = tracking_of(chosen, OUT)
    result = run(chosen, out, origins=origins, others=others, tracking=store, say=say)
    for line in in_words(result):
        say(line)
    emit(result.to_dict(), json_)


@app.command()
def points(
    leads: Leads = None,
    id_: Id = None,
    label: Label = None,
    time: Time = None,
    exclude: Exclude = "",
    config: ConfigFile = None,
    incumbent: Annotated[
        Path | None, typer.Option(help="Today's points table (TOML), to be beaten.", metavar="FILE")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The table as CSV.", metavar="FILE")] = None,
    lang: Lang = "en",
    json_: Json = None,
) -> None:
    """Learn a table of at most 30 lines of points, for tools that know nothing else."""
    from training.pointing.distil import points_of
    from training.pointing.points_file import incumbent_points
    from training.pointing.points_file import load as load_table
    from training.run import fit
    from training.workflow import read_dataset

    chosen = configured(config, leads, id_, label, time, exclude)
    dataset = read_dataset(chosen, OUT)
    today = None if incumbent is None else incumbent_points(load_table(incumbent), chosen, dataset)
    learned = points_of(fit(dataset, chosen.training, say), incumbent=today, seed=chosen.training.seed)
    for line in learned.in_words(lang):
        say(line)
    if out is not None:
        out.write_text(learned.to_csv(lang), encoding="utf-8")
    emit(learned.to_dict(lang), json_)


@app.command()
def report(
    run: Annotated[Path, typer.Option(help="The folder that train wrote.", metavar="DIR")] = OUT,
    lang: Lang = "en",
    out: Annotated[Path | None, typer.Option(help="Where to write the page.", metavar="FILE")] = None,
) -> None:
    """Write the report of a trained run again, for example in the other language."""
    from training.workflow import rendered

    say(f"report written to {rendered(run, out or run / 'report.html', lang)}")


@app.command(name="promote")
def promote_(
    run: Annotated[str, typer.Argument(help="A run id, or a model folder.")] = "",
    *,
    back: Annotated[bool, typer.Option(help="Go back to the champion before, instead.")] = False,
    force: Annotated[str | None, typer.Option(help="Overrule the gate.", metavar="REASON")] = None,
    json_: Json = None,
) -> None:
    """Make a trained model the champion if it is no worse, and copy it for the service."""
    from training.promotion import promote, rollback
    from training.tracking import tracking

    if bool(run) == back:
        refuse("name the run to promote, or --back to return to the champion before")
    done = rollback(tracking=tracking(OUT)) if back else promote(run, tracking=tracking(OUT), force=force)
    for line in done.in_words():
        say(line)
    emit(done.to_dict(), json_)


@app.command()
def monitor(
    scores: Annotated[Path, typer.Option(help="What `leadloop score` wrote.", metavar="FILE")],
    outcomes: Annotated[Path, typer.Option(help="What became of the leads.", metavar="FILE")],
    id_: Annotated[str, typer.Option("--id", help="Column that names the lead.", metavar="COLUMN")],
    label: Annotated[str, typer.Option(help="Column with the outcome.", metavar="COLUMN")],
    model: ModelName = "champion",
    time: Annotated[str | None, typer.Option(help="Column with a date.", metavar="COLUMN")] = None,
    json_: Json = None,
) -> None:
    """See whether a model still holds; exit code 0 is healthy, 3 watch, 4 retrain."""
    from models.artifact import load
    from training.watched import OutcomeFile, watch

    found = watch(load(_model_dir(model)), scores, OutcomeFile(outcomes, id_, label, time))
    for line in found.in_words():
        say(line)
    emit(found.to_dict(), json_)
    raise typer.Exit(found.exit_code)


@app.command()
def serve(
    model: ModelName = "champion",
    port: Annotated[int, typer.Option(help="0 is any free one.")] = 3000,
    host: Annotated[str, typer.Option(help="The default is reached from this machine only.")] = "127.0.0.1",
    workers: Annotated[int, typer.Option(help="Processes that answer.", min=1)] = 1,
) -> None:
    """Answer scores and explanations over REST until stopped."""
    from serving.run import Address
    from serving.run import serve as run

    def answering(url: str) -> None:
        say(f"answering at {url} (API page: {url}/); stop with Ctrl+C")

    run(_model_dir(model), Address(host, port), workers, answering)


@app.command()
def demo(
    leads: Annotated[int, typer.Option(help="How many leads the company has.", min=500)] = 20_000,
    seed: Annotated[int, typer.Option(help="The same seed makes the same company.")] = 1,
    out: Annotated[Path, typer.Option(help="Folder for everything it makes.", metavar="DIR")] = OUT,
    json_: Json = None,
) -> None:
    """Make a company's history, train, track, report, and serve one scored and explained lead."""
    from training.demo import demo as run
    from training.tracking import tracking

    done = run(leads, seed, out, tracking(OUT), say)
    lead = _explained(done.trained.model_dir, done.request, out / "service.log")
    say(f"open the report: {out / 'report.html'}")
    emit(done.to_dict() | {"scored_lead": lead}, json_)


def _explained(model: Path, request: dict[str, Any], log: Path) -> dict[str, Any]:
    """What the real service, started for this one question, says of the lead in ``request``."""
    from serving.run import ask, running

    say("starting the service, asking it over REST to explain one lead ...")
    with log.open("wb") as file, running(model, log=file) as service:
        lead: dict[str, Any] = ask(service.url, "/v1/explain", request | {"top": 5})["results"][0]
    say(f"{lead['lead_id']}: {lead['probability']:.1%}, {lead['points']} points, grade {lead['grade']}")
    for reason in lead["reasons"]:
        say(f"  {reason['points']:+6.1f}  {reason['text']}")
    return lead


def _model_dir(model: str) -> Path:
    """The folder of a model: itself, or the champion's."""
    if model != "champion":
        return Path(model)
    from training.registry import champion_dir
    from training.tracking import tracking

    champion = champion_dir(tracking=tracking(OUT))
    if champion.notice:
        say(champion.notice)
    return champion.folder


def main() -> None:
    """The entry point of the ``leadloop`` command."""
    with spoken():
        app()


if __name__ == "__main__":
    main()
