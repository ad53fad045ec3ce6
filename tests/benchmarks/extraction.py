"""What columns that are read out are worth: domains, job titles, choices and words, with and without.

    python tests/benchmarks/extraction.py [--rows N ...] [--seeds N]

Made leads whose outcome depends on all of these, beside visits, and null leads whose outcome depends on
visits alone. A model learns from each file as leadloop reads it, and from the same file with nothing read
out. 20,000 fresh leads of the same kind say how much of the information that there is each has captured: 1
is the true probability, 0 the base rate.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

from features.ingest.flat_export import FlatColumns, iter_flat_batches
from models.metrics import log_loss, roc_auc
from training.config.settings import Config, FlatConfig
from training.data.dataset import flat_rows
from training.data.load import read_dataset
from training.learner.fit import fit_learning_rows

FRESH = 20_000
FILLER = (
    *("wir", "suchen", "eine", "lösung", "für", "unser", "team", "und", "haben"),
    *("fragen", "zu", "den", "funktionen", "please", "call", "back", "about", "your"),
    *("product", "we", "use", "another", "tool", "today", "with", "our", "would"),
    *("like", "more", "details", "on", "how", "it", "works", "systems", "gerne"),
    *("per", "mail", "morgen"),
)
TELLING = {
    "angebot": 1.0,
    "quote": 1.0,
    "budget": 0.8,
    "pilot": 0.7,
    "praktikum": -1.2,
    "studienarbeit": -1.2,
}
RANKS = {
    ("CEO", "Geschäftsführer", "Managing Director", "CTO"): 0.9,
    ("Leiter Vertrieb", "Head of Marketing", "Director IT", "Abteilungsleiterin Einkauf"): 0.7,
    ("Marketing Manager", "Vertriebsmanagerin", "Projektleiter"): 0.1,
    ("Sachbearbeiter Einkauf", "Software Developer", "Controller", "HR Specialist"): -0.4,
    ("Werkstudent Marketing", "Intern", "Praktikantin Personal"): -1.2,
}
PLACES = (
    "EMEA",
    "Nord",
    "Süd",
    "Berlin",
    "Europe",
    "DACH",
    "Region West",
    "Digital",
    "B2B",
    "B2C",
    "Key Accounts",
    "",
)
CHOICES = {
    "Demo": 1.2,
    "API": 0.3,
    "Blog": -0.2,
    "Events": 0.0,
    "Preise": 0.5,
    "Training": -0.4,
    "Support": 0.0,
}
MAIL = {"gmail.com": -0.9, "gmx.de": -0.9, "web.de": -0.9, "yahoo.com": -0.9}


def make_leads(rows: int, seed: int, *, null: bool) -> tuple[pl.DataFrame, np.ndarray]:
    """Leads, and their true probabilities."""
    random = np.random.default_rng(seed)
    visits = random.poisson(4, rows)
    columns = [_emails(random, rows), _titles(random, rows), _notes(random, rows), _interests(random, rows)]
    effect = sum(effects for _, effects in columns)
    log_odds = -2.2 + 0.5 * (visits - 4) + (0 if null else effect)
    probability = 1 / (1 + np.exp(-log_odds))
    frame = pl.DataFrame(
        {
            "Id": [f"{seed}-{n}" for n in range(rows)],
            "Visits": visits,
            "Source": random.choice(["Ads", "Fair", "Organic"], rows),
            **dict(zip(("Email", "Job Title", "Message", "Interests"), (c for c, _ in columns), strict=True)),
            "Won": np.where(random.random(rows) < probability, "Yes", "No"),
        }
    )
    return frame, probability


def _emails(random, rows):
    firms = [f"firma{n}.{random.choice(['de', 'com', 'at'])}" for n in range(rows // 4)]
    private = random.random(rows) < 0.35
    domains = np.where(private, random.choice(list(MAIL), rows), random.choice(firms, rows))
    return [f"p{n}@{domain}" for n, domain in enumerate(domains)], np.where(private, -0.9, 0.3)


def _titles(random, rows):
    ranks = [*RANKS]
    rank = random.integers(len(ranks), size=rows)
    titles = [f"{random.choice(ranks[k])} {random.choice(PLACES)}".strip() for k in rank]
    return titles, np.array([RANKS[ranks[k]] for k in rank])


def _notes(random, rows):
    told = random.random((rows, len(TELLING))) < 0.15
    words = np.array(list(TELLING))
    texts = [
        " ".join(random.permutation([*random.choice(FILLER, random.integers(6, 25)), *words[own]]))
        for own in told
    ]
    return texts, told @ np.array(list(TELLING.values()))


def _interests(random, rows):
    chosen = random.random((rows, len(CHOICES))) < 0.3
    names = np.array(list(CHOICES))
    return [";".join(random.permutation(names[own])) or None for own in chosen], chosen @ np.array(
        list(CHOICES.values())
    )


def captured(rows: int, seed: int, *, null: bool, extract: dict[str, str]) -> tuple[float, float, float]:
    """The share of the information, the log-loss and the ROC AUC, on fresh leads."""
    learn, _ = make_leads(rows, seed, null=null)
    fresh, truth = make_leads(FRESH, seed + 1000, null=null)
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("learn.csv", "fresh.csv")]
        for file, frame in zip(files, (learn, fresh), strict=True):
            frame.write_csv(file)
        config = Config(flat=FlatConfig(files[0], "Won", id="Id", extract=extract))
        dataset = read_dataset(config, Path(folder))
        predictor = fit_learning_rows(dataset.to_learning_rows(), seed).predictor
        columns = FlatColumns.from_features(dataset.features, "Id", dataset.missing, dataset.marks)
        leads = pl.concat(batch.leads for batch in iter_flat_batches(files[1], columns))
    matrix = predictor.encodings.encode(flat_rows(dataset.features, leads))
    p, y = predictor.probability(predictor.log_odds(matrix)), (fresh["Won"] == "Yes").to_numpy().astype(int)
    base, best = log_loss(y, np.full(len(y), y.mean())), log_loss(y, truth)
    return (base - log_loss(y, p)) / (base - best), log_loss(y, p), roc_auc(y, p)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    print("leads   outcome depends on  read out   captured  log-loss    AUC   captured by seed")
    for rows in options.rows:
        for null, name in ((False, "all"), (True, "visits alone")):
            for extract, words in (({"*": "none"}, "nothing"), ({}, "all")):
                each = [captured(rows, seed, null=null, extract=extract) for seed in range(options.seeds)]
                share, loss, auc = np.mean(each, axis=0)
                by_seed = " ".join(f"{one[0]:.3f}" for one in each)
                print(
                    f"{rows:6,}  {name:18}  {words:8}  {share:9.3f}  {loss:8.4f}  {auc:5.3f}   {by_seed}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
