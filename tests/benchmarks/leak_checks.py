"""Recall and false alarms of the checks on made-up exports, on the first of which they were mended.

    python tests/benchmarks/leak_checks.py [--leads N] [--seeds N] [--strength S] [--companies N]
        [--histories N] [--first-seed S]

Each seed is a simulated company's flat export, in English and in German: what was known two weeks after a
lead came, and seven columns that a CRM fills because of the outcome, as they are found in practice: a
status, a next step, an owner who takes over what is qualified, a count of meetings, an amount, how long it
took, and a reason for losing. Beside them stand ordinary tables without leaks, in the manner of a bank's
calls, of a telephone company's customers and of credits. Then come made-up companies (leak_worlds.py) of
four languages and three sizes, whose leaks are of fifteen other mechanisms, ordinary tables of which 1.5 %
and 6 % convert, and histories (leak_histories.py) of five kinds at three base rates, and of two kinds with
three leaks that were written after the checks were adjusted. A column is found if a check of medium or high
severity names it.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import leak_histories
import leak_worlds
import numpy as np
import polars as pl
from scipy.special import expit

from features.clock import DAY
from features.ingest.flat_export import read_flat
from features.ingest.mapping import FlatMapping
from training.data.dataset import from_flat_export
from training.leakage.checks import run_checks, sorted_findings
from training.simulation.simulator import simulate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.random import Generator
    from numpy.typing import NDArray

    from training.data.dataset import Dataset

    Flags = NDArray[np.bool_]

KNOWN_FOR, WON_WITHIN = 14 * DAY, 75 * DAY
SIZES = (500, 3_000, 20_000)


@dataclass(frozen=True)
class Wording:
    """How a company calls the columns that leak, and what it writes into them."""

    status: tuple[str, ...]
    step: tuple[str, ...]
    owner: tuple[str, ...]
    meetings: str
    amount: str
    took: str
    lost: tuple[str, ...]


ENGLISH = Wording(
    ("Pipeline", "In progress", "Proposal", "Parked"),
    ("Next Step", "Send offer", "Book demo", "Nurture", "Call back"),
    ("Assigned To", "Field team", "Key accounts", "Inbox"),
    "Meetings Held",
    "Expected Revenue",
    "Days In Process",
    ("Why Not", "price", "timing", "no answer"),
)
GERMAN = Wording(
    ("Bearbeitungsstand", "in Arbeit", "Angebot", "abgelegt"),
    ("Nächster Schritt", "Angebot senden", "Termin machen", "später melden", "anrufen"),
    ("Betreuer", "Außendienst", "Großkunden", "Zentrale"),
    "Anzahl Termine",
    "Auftragswert",
    "Dauer in Tagen",
    ("Absagegrund", "Preis", "Zeitpunkt", "nicht erreicht"),
)


def honest(leads: int, seed: int) -> pl.DataFrame:
    """What a company knew of its leads after two weeks, of those still open, and whether they became SQLs."""
    history = simulate(leads, seed).history
    came = history.leads.drop("account_id")
    ends = history.transitions.filter(pl.col("stage").is_in(["sql", "disqualified"]))
    ends = (
        ends.sort("occurred_at").unique("lead_id", keep="first").select("lead_id", "stage", end="occurred_at")
    )
    rows = came.join(ends, on="lead_id", how="left")
    age = pl.col("end") - pl.col("created_at")
    rows = rows.filter(age.is_null() | (age > KNOWN_FOR)).with_columns(
        Outcome=((pl.col("stage") == "sql") & (age < WON_WITHIN)).fill_null(value=False).cast(pl.Int8)
    )
    touches = history.touchpoints.join(came.select("lead_id", "created_at"), on="lead_id")
    early = touches.filter(pl.col("known_at") < pl.col("created_at") + KNOWN_FOR)
    counts = early.pivot("kind", index="lead_id", values="occurred_at", aggregate_function="len")
    joined = rows.drop("stage", "end").join(counts, on="lead_id", how="left").sort("created_at", "lead_id")
    return joined.with_columns(pl.col(name).fill_null(0) for name in counts.columns if name != "lead_id")


def leaks(won: Flags, words: Wording, random: Generator, strength: float) -> list[pl.Series]:
    """The seven columns, as sales leaves them: late, not always, and sometimes for the others, too.

    Sales keeps books on the share ``strength`` of leads; of the others the columns say nothing.
    """
    rows = len(won)
    kept = random.random(rows) < strength
    won, lost = won & kept, ~won & kept
    worked = random.random(rows) < 0.35

    def some(share: float) -> Flags:
        return np.asarray(random.random(rows) < share)

    status = np.where(won & some(0.85), words.status[2], np.where(worked, words.status[1], words.status[3]))
    steps = np.where(won, random.choice(words.step[1:3], rows), random.choice(words.step[3:], rows))
    step = np.where(some(0.9) & (won | worked), steps, random.choice(words.step[1:], rows))
    owner = np.where(won & some(0.8), random.choice(words.owner[1:3], rows), words.owner[3])
    owner = np.where(some(0.05), words.owner[1], owner)
    filled: dict[str, tuple[NDArray[np.generic], Flags]] = {
        words.status[0]: (status, some(1.0)),
        words.step[0]: (step, won | worked),
        words.owner[0]: (owner, some(1.0)),
        words.meetings: (random.poisson(np.where(won, 3.0, 0.4)), some(1.0)),
        words.amount: (random.lognormal(9, 1, rows).round(-2), won & some(0.9)),
        words.took: (random.gamma(3, 8, rows).round(), (won & some(0.9)) | some(0.1)),
        words.lost[0]: (random.choice(words.lost[1:], rows), lost & some(0.45)),
    }
    return [pl.Series(name, value).set(pl.Series(~known), None) for name, (value, known) in filled.items()]


def bank(random: Generator, rows: int) -> pl.DataFrame:
    """Calls of a bank: who was called, how often, and how it went before."""
    age, balance = random.normal(41, 11, rows).round(), random.lognormal(6.5, 1.3, rows).round()
    before = random.choice(["unknown", "failure", "success"], rows, p=[0.82, 0.12, 0.06])
    month = random.choice(["mar", "may", "jul", "oct"], rows, p=[0.05, 0.5, 0.35, 0.1])
    calls = random.geometric(0.4, rows)
    odds = -2.4 + 1.8 * (before == "success") + 0.9 * np.isin(month, ["mar", "oct"]) - 0.15 * calls
    return pl.DataFrame(
        {
            "age": age,
            "job": random.choice(["admin", "technician", "services", "retired", "student"], rows),
            "marital": random.choice(["married", "single", "divorced"], rows),
            "education": random.choice(["primary", "secondary", "tertiary"], rows),
            "balance": balance,
            "housing": random.choice(["yes", "no"], rows),
            "loan": random.choice(["yes", "no"], rows, p=[0.15, 0.85]),
            "contact": random.choice(["cellular", "telephone", ""], rows, p=[0.6, 0.1, 0.3]),
            "month": month,
            "campaign": calls,
            "previous": np.where(before == "unknown", 0, random.poisson(2, rows) + 1),
            "poutcome": before,
            "Outcome": (random.random(rows) < expit(odds)).astype(int),
        }
    )


def telephone(random: Generator, rows: int) -> pl.DataFrame:
    """Customers of a telephone company: what they have, for how long, and what they pay."""
    tenure = random.integers(0, 73, rows)
    contract = np.where(tenure > 40, "Two year", random.choice(["Month-to-month", "One year"], rows))
    monthly = random.normal(65, 28, rows).clip(18, 118).round(2)
    net = np.where(monthly < 25, "No", random.choice(["DSL", "Fiber optic"], rows))
    odds = -1.2 + 1.5 * (contract == "Month-to-month") - 0.04 * tenure + 0.7 * (net == "Fiber optic")
    extras = {
        name: np.where(net == "No", "No internet service", random.choice(["Yes", "No"], rows))
        for name in ("OnlineSecurity", "OnlineBackup", "TechSupport", "StreamingTV")
    }
    return pl.DataFrame(
        {
            "gender": random.choice(["Female", "Male"], rows),
            "SeniorCitizen": random.integers(0, 2, rows),
            "Partner": random.choice(["Yes", "No"], rows),
            "tenure": tenure,
            "InternetService": net,
            **extras,
            "Contract": contract,
            "PaperlessBilling": random.choice(["Yes", "No"], rows),
            "PaymentMethod": random.choice(["Check", "Transfer", "Card"], rows),
            "MonthlyCharges": monthly,
            "TotalCharges": pl.Series((monthly * tenure).round(2)).set(pl.Series(tenure == 0), None),
            "Outcome": (random.random(rows) < expit(odds)).astype(int),
        }
    )


def credit(random: Generator, rows: int) -> pl.DataFrame:
    """Applications for credit: income, debts, history; some of it is asked of some applicants only."""
    income, owed = random.lognormal(10.6, 0.5, rows).round(), random.beta(2, 5, rows).round(3)
    delays = random.poisson(0.4, rows)
    odds = -2.6 + 3.0 * owed + 0.7 * delays - 0.6 * (np.log(income) - 10.6)
    late = pl.Series(random.integers(1, 80, rows)).set(pl.Series(delays == 0), None)
    return pl.DataFrame(
        {
            "income": income,
            "loan_amount": random.lognormal(9.2, 0.6, rows).round(-2),
            "purpose": random.choice(["car", "house", "education", "business", "other"], rows),
            "term": random.choice([36, 60], rows),
            "home": random.choice(["own", "rent", "mortgage"], rows),
            "employment_years": random.integers(0, 30, rows),
            "debt_to_income": owed,
            "delinquencies": delays,
            "months_since_delinquency": late,
            "open_lines": random.poisson(9, rows),
            "utilisation": random.beta(2, 3, rows).round(3),
            "inquiries": random.poisson(0.8, rows),
            "Outcome": (random.random(rows) < expit(odds)).astype(int),
        }
    )


ORDINARY: dict[str, Callable[[Generator, int], pl.DataFrame]] = {
    "bank": bank,
    "telephone": telephone,
    "credit": credit,
}


def named(frame: pl.DataFrame, folder: Path) -> dict[str, str]:
    """The columns that checks of medium or high severity name, and the codes; ``-`` is the whole table."""
    path = folder / "leads.csv"
    frame.with_row_index("No").write_csv(path)
    mapping = FlatMapping(label="Outcome", time="No")
    return accusations(from_flat_export(read_flat(path, mapping), mapping))


def accusations(dataset: Dataset) -> dict[str, str]:
    """The columns that checks of medium or high severity name, and their codes; ``-`` is the whole table."""
    grave = [finding for finding in sorted_findings(run_checks(dataset)) if finding.severity != "info"]
    return {f.column or "-": " ".join(g.code for g in grave if g.column == f.column) for f in grave}


def exports(leads: int, seed: int, strength: float) -> Iterator[tuple[str, pl.DataFrame, list[str]]]:
    """Each table of a seed by its name, with the columns of it that leak."""
    rows, random = honest(leads, seed).drop("lead_id", "created_at"), np.random.default_rng(seed)
    for name, words in (("english", ENGLISH), ("german", GERMAN)):
        columns = leaks(rows["Outcome"].to_numpy() == 1, words, random, strength)
        yield name, rows.with_columns(columns), [column.name for column in columns]
    yield "honest", rows, []
    for name, made in ORDINARY.items():
        yield name, made(random, leads), []


def print_worlds(rows: int, companies: int, first: int) -> None:
    """Recall by mechanism and false alarms in made-up companies."""
    found, planted, alarms = Counter[str](), Counter[str](), Counter[str]()
    with tempfile.TemporaryDirectory() as scratch:
        for seed in range(first, first + companies):
            frame, leaking = leak_worlds.export(seed, rows)
            told = named(frame, Path(scratch))
            planted.update(leaking.values())
            found.update(leak for column, leak in leaking.items() if column in told)
            alarms.update(f"{column} ({code})" for column, code in told.items() if column not in leaking)
    share = found.total() / planted.total()
    print(
        f"\n{companies} companies of {rows:,} leads: {found.total()} of {planted.total()} ({share:.1%}) found"
    )
    missed = [f"{leak} {found[leak]} of {count}" for leak, count in planted.items() if found[leak] < count]
    print(f"  not always: {', '.join(missed) or 'none'}")
    print(f"  false alarms: {', '.join(f'{alarm} {n}x' for alarm, n in alarms.most_common()) or 'none'}")


def rare_table(kind: str, seed: int, rows: int, rate: float) -> tuple[pl.DataFrame, set[str]]:
    """An ordinary table thinned out so that ``rate`` of its leads convert, with a code and four leaks.

    The leaks: what was bought from a mailing and for how much (of a fifth of the converted leads), a
    contract's number, and a total of touches that goes on counting.
    """
    random = np.random.default_rng([seed, rows, round(1e4 * rate)])
    base = ORDINARY[kind](random, round(rows * 1.2))
    won = base["Outcome"].to_numpy() == 1
    keep = ~won | (random.random(len(won)) < rate / (1 - rate) * (~won).sum() / won.sum())
    frame = base.filter(pl.Series(keep)).head(rows)
    won = frame["Outcome"].to_numpy() == 1
    employer = [f"E{number}" for number in random.zipf(1.4, len(won)).clip(0, 5_000)]
    no_employer = random.random(len(won)) < np.where(won, 0.004, 0.06)
    bought, touches = won & (random.random(len(won)) < 0.2), random.poisson(12, len(won))
    signed = won & (random.random(len(won)) < 0.3)
    leaking = {
        "conversion": pl.Series(bought.astype(int)),
        "spend": pl.Series(np.where(bought, random.lognormal(4, 1, len(won)).round(2), 0.0)),
        "contract": pl.Series(random.integers(1, 4, len(won))).set(pl.Series(~signed), None),
        "total_touches_all": pl.Series(touches + random.poisson(np.where(won, 12, 8))),
    }
    honest_columns = {
        "Employer_Code": pl.Series(employer).set(pl.Series(no_employer), None),
        "touches": pl.Series(touches),
    }
    return frame.with_columns(**honest_columns, **leaking), set(leaking)


def print_rare_tables(rows: int, seeds: int, first: int) -> None:
    """Recall and false alarms in ordinary tables of which few convert, with the leaks and without them."""
    for rate in leak_histories.RATES[:2]:
        found, planted, alarms, tables = Counter[str](), Counter[str](), Counter[str](), 0
        with tempfile.TemporaryDirectory() as scratch:
            for seed in range(first, first + seeds):
                for kind in ORDINARY:
                    frame, leaking = rare_table(kind, seed, rows, rate)
                    accused = named(frame, Path(scratch))
                    planted.update(leaking)
                    found.update(leaking & accused.keys())
                    for table in (accused, named(frame.drop(leaking), Path(scratch))):
                        tables += 1
                        alarms.update(
                            f"{name} ({code})" for name, code in table.items() if name not in leaking
                        )
        print(f"\n{tables} tables of {rows:,} leads, {rate:.1%} converted: false alarms {alarms.total()}")
        print("  " + ", ".join(f"{alarm} {count}x" for alarm, count in alarms.most_common()))
        print(
            "  found: "
            + ", ".join(f"{leak} {found[leak]} of {count}" for leak, count in sorted(planted.items()))
        )


@dataclass(frozen=True)
class HistorySet:
    """The kinds of histories, and the leaks to plant in them."""

    title: str
    kinds: tuple[str, ...]
    leaks: dict[
        str, Callable[[leak_histories.HistoryCompany], tuple[leak_histories.HistoryCompany, set[str]]]
    ]


HISTORY_SETS = (
    HistorySet("histories", leak_histories.KINDS, leak_histories.LEAKS),
    HistorySet("histories of unseen kinds", leak_histories.UNSEEN_KINDS, leak_histories.UNSEEN_LEAKS),
)


def print_histories(histories_of: HistorySet, leads: int, companies: int, first: int) -> None:
    """False alarms in honest histories by base rate, and recall of each leak."""
    found, planted, alarms = Counter[str](), Counter[str](), Counter[str]()
    for rate in leak_histories.RATES:
        accused, histories = 0, 0
        for seed in range(first, first + companies):
            for kind in histories_of.kinds:
                company = leak_histories.draw_company(seed, leads, kind, rate)
                checks = accusations(company.dataset())
                histories, accused = histories + 1, accused + bool(checks)
                alarms.update(f"{column} ({code})" for column, code in checks.items())
        print(
            f"\n{histories} honest {histories_of.title} of {leads:,} leads, {rate:.1%} converted: "
            f"{accused} accused",
            flush=True,
        )
        for number, (leak, plant) in enumerate(histories_of.leaks.items()):
            for seed in range(first, first + companies):
                kind = histories_of.kinds[(seed + number) % len(histories_of.kinds)]
                company, columns = plant(leak_histories.draw_company(1_000 + seed, leads, kind, rate))
                checks = accusations(company.dataset())
                name = f"{leak} at {rate:.1%}"
                planted[name] += len(columns)
                found[name] += len(columns & checks.keys())
                alarms.update(
                    f"{column} ({code})" for column, code in checks.items() if column not in columns
                )
    print("  false alarms: " + (", ".join(f"{alarm} {n}x" for alarm, n in alarms.most_common()) or "none"))
    for name, count in planted.items():
        print(f"  {name:40} {found[name]:3} of {count}")


def main() -> None:
    """Print recall by column and false alarms by table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--leads", type=int, default=2_500)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument(
        "--strength", type=float, default=0.6, help="share of leads that sales keeps books on"
    )
    parser.add_argument("--companies", type=int, default=93, help="made-up ones of each size")
    parser.add_argument("--histories", type=int, default=4, help="of each kind and base rate")
    parser.add_argument(
        "--first-seed",
        type=int,
        default=0,
        help="seeds from here on; the checks were adjusted on those from 0",
    )
    asked = parser.parse_args()
    recall, alarms, tables = Counter[str](), Counter[str](), Counter[str]()
    codes: dict[str, Counter[str]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for seed in range(asked.first_seed + 1, asked.first_seed + asked.seeds + 1):
            for name, frame, leaking in exports(asked.leads, seed, asked.strength):
                found = named(frame, Path(scratch))
                tables[name] += 1
                for column in leaking:
                    recall[f"{name}: {column}"] += column in found
                    codes.setdefault(column, Counter()).update(found.get(column, "missed").split())
                alarms.update(f"{name}: {c} ({k})" for c, k in found.items() if c not in leaking)
    for column, count in recall.items():
        told = ", ".join(f"{code} {n}x" for code, n in codes[column.split(": ")[1]].most_common())
        print(f"{column:32} {count:3} of {asked.seeds}   {told}")
    print(f"false alarms in {tables.total()} tables: {alarms.total()}")
    for alarm, count in alarms.most_common():
        print(f"  {alarm}: {count}")
    for rows in SIZES:
        print_worlds(rows, asked.companies, asked.first_seed)
    print_rare_tables(10_000, asked.seeds, asked.first_seed)
    for histories_of in HISTORY_SETS:
        print_histories(histories_of, asked.leads, asked.histories, asked.first_seed)


if __name__ == "__main__":
    main()
