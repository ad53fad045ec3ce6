"""Worlds whose truth is no additive model and no shallow tree, with the exact probability of every lead.

Each seed is another company: it draws which columns matter, how, and how rarely leads convert.

* ``interactions``: correlated, heavy-tailed counts of touchpoints and three words; products of numbers,
  slopes that differ in sign by word, and an effect that rises and falls again;
* ``thresholds``: counts from one latent drive, with Pareto tails; a lead is ready once enough of several
  thresholds are passed at once, one of which depends on the lead's size, and an odd number of habits counts;
* ``clusters``: leads lie around prototypes in words and numbers, and each prototype has a rate of its own;
  on top the exclusive or of two groups of words; the mix of prototypes drifts from first lead to last;
* ``network``: a random network of two hidden layers over numbers and words;
* ``smooth``: a sample of a Gaussian process over numbers, which is another one for each word;
* ``rules``: fourteen overlapping rules of three conditions each, over counts and words;
* ``needle``: 25 counts of which six matter, by two ratios and a product;
* ``additive``: for contrast a world that the additive part of a model can say in full.

In any of them the level of all leads can move: a new one each tenth of the time (``swing``), or a step from
the one before (``walk``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from scipy.optimize import brentq
from scipy.special import expit

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Draw = Callable[[np.random.Generator, Floats], tuple[pl.DataFrame, Floats]]

SIZES, SOURCES = ("small", "medium", "large"), ("ads", "search", "referral", "fair", "partner", "mail")
REGIONS = tuple(f"region {number}" for number in range(12))
CALIBRATED_ON, TENTHS = 20_000, 10


@dataclass(frozen=True, eq=False)
class MisspecifiedLeads:
    """Leads of one company, one row each.

    Attributes:
        frame: What is visible of them.
        y: (n,) whether they converted.
        log_odds: (n,) their true log-odds.
        order: (n,) their place in time, from 0.
    """

    frame: pl.DataFrame
    y: NDArray[np.int8]
    log_odds: Floats
    order: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class MisspecifiedCompany:
    """One company of a world: leads can be drawn from it as often as wanted.

    Attributes:
        draw: Gives leads at (n,) shares of the time that passes, with a raw truth.
        spread: Standard deviation of the true log-odds.
        scale: Factor on the raw truth.
        shift: Added after that.
        drifts: Whether the place in time matters.
        level: What is added to the truth in each tenth of the time. Default: nothing.
    """

    draw: Draw
    spread: float
    scale: float
    shift: float
    drifts: bool
    level: tuple[float, ...] = (0.0,)

    def leads(self, count: int, seed: int, start: float = 0.0, end: float = 1.0) -> MisspecifiedLeads:
        """Leads that come between two shares of the company's time."""
        random = np.random.default_rng(seed)
        times = np.linspace(start, end, count)
        frame, raw = self.draw(random, times)
        place = np.minimum((times * len(self.level)).astype(int), len(self.level) - 1)
        truth = self.scale * raw + self.shift + np.array(self.level)[place]
        y = (random.random(count) < expit(truth)).astype(np.int8)
        return MisspecifiedLeads(frame, y, truth, np.arange(count))


def misspecified_company(kind: str, seed: int) -> MisspecifiedCompany:
    """The company of a ``kind`` of world that ``seed`` draws."""
    random = np.random.default_rng([seed, KINDS.index(kind)])
    draw = _WORLDS[kind](random)
    rate, spread = random.uniform(0.08, 0.3), random.uniform(1.0, 1.7)
    raw = _raw_truth(draw, seed)
    scale = spread / float(raw.std())
    return MisspecifiedCompany(draw, spread, scale, _shift_to_rate(scale * raw, rate), kind == "clusters")


def with_rate(company: MisspecifiedCompany, rate: float, seed: int) -> MisspecifiedCompany:
    """The same company, of whose leads the share ``rate`` converts."""
    return replace(company, shift=_shift_to_rate(company.scale * _raw_truth(company.draw, seed), rate))


def _raw_truth(draw: Draw, seed: int) -> Floats:
    return draw(np.random.default_rng([seed, 99]), np.linspace(0, 1, CALIBRATED_ON))[1]


def _shift_to_rate(log_odds: Floats, rate: float) -> float:
    return float(brentq(lambda level: expit(log_odds + level).mean() - rate, -60.0, 60.0))


def with_moving_level(company: MisspecifiedCompany, kind: str, size: float, seed: int) -> MisspecifiedCompany:
    """The same company, whose level moves by ``size`` (a standard deviation) each tenth of the time."""
    moves = np.random.default_rng([seed, 77]).normal(size=TENTHS) * size
    level = np.cumsum(moves) if kind == "walk" else moves
    return replace(company, drifts=True, level=tuple(level.tolist()))


def _touchpoints(random: np.random.Generator, count: int, loadings: Floats, tail: float) -> Floats:
    """(count, columns) counts that share a drive; ``tail`` is the weight of rare, very busy leads."""
    drive = random.normal(size=(count, 1)) * 0.8 + tail * random.standard_t(3, size=(count, 1)) * 0.3
    mean = np.exp(np.clip(loadings * drive + 0.5 * random.normal(size=(count, len(loadings))) + 0.7, -3, 6))
    return random.poisson(mean).astype(np.float64)


def _scores(x: Floats) -> Floats:
    """Counts as numbers around 0 with a bounded range, each column by itself."""
    return np.tanh((np.log1p(x) - 1.1) / 0.8)


def _interactions(random: np.random.Generator) -> Draw:
    columns = int(random.integers(5, 9))
    loadings, tail = random.uniform(0.3, 1.0, columns), random.uniform(0.5, 1.5)
    slopes = random.normal(size=columns) * (random.random(columns) < 0.6)
    pairs = [random.choice(columns, 2, replace=False) for _ in range(4)]
    products = random.normal(size=len(pairs)) * 1.6
    by_source = random.normal(size=len(SOURCES)) * 1.2
    by_size = random.permutation([-1.0, 0.3, 1.0]) * random.uniform(0.8, 1.6)
    region = random.normal(size=len(REGIONS)) * 0.4
    humped, peak = int(random.integers(columns)), random.uniform(-0.4, 0.4)

    def draw(random: np.random.Generator, times: Floats) -> tuple[pl.DataFrame, Floats]:
        count = len(times)
        x = _touchpoints(random, count, loadings, tail)
        source = (random.integers(len(SOURCES), size=count) + (x[:, 0] > 4)) % len(SOURCES)
        size, where = random.integers(3, size=count), random.integers(len(REGIONS), size=count)
        z = _scores(x)
        raw = z @ slopes + region[where] - 3.0 * (z[:, humped] - peak) ** 2
        raw = raw + by_source[source] * z[:, 1] + by_size[size] * z[:, 2]
        for (first, second), weight in zip(pairs, products, strict=True):
            raw = raw + weight * z[:, first] * z[:, second]
        return _frame(x, source=(SOURCES, source), size=(SIZES, size), region=(REGIONS, where)), raw

    return draw


def _thresholds(random: np.random.Generator) -> Draw:
    columns = int(random.integers(5, 8))
    loadings = random.uniform(0.4, 1.1, columns)
    limits = random.uniform(1.0, 5.0, columns)
    needed = random.permutation([2.0, 3.0, 3.5])
    habits = random.choice(columns, 3, replace=False)
    by_source = random.normal(size=len(SOURCES)) * 0.5
    parity, slope = random.uniform(0.5, 1.0), random.uniform(1.0, 2.0)

    def draw(random: np.random.Generator, times: Floats) -> tuple[pl.DataFrame, Floats]:
        count = len(times)
        x = _touchpoints(random, count, loadings, 0.6)
        x = np.floor(x * (1 + 0.3 * (random.pareto(1.5, size=(count, 1)))))
        source, size = random.integers(len(SOURCES), size=count), random.integers(3, size=count)
        passed = (x > limits * np.where(size == 2, 1.6, 1.0)[:, None]).sum(axis=1)
        odd = (x[:, habits] > 2).sum(axis=1) % 2
        raw = 2.0 * expit(slope * (passed - needed[size])) + parity * odd + by_source[source]
        money = np.round(np.exp(random.normal(size=count) * 1.5 + 3), 2)
        return _frame(np.column_stack([x, money]), source=(SOURCES, source), size=(SIZES, size)), raw

    return draw


def _clusters(random: np.random.Generator) -> Draw:
    columns, prototypes = int(random.integers(4, 7)), int(random.integers(6, 11))
    centres = random.normal(size=(prototypes, columns)) * 1.1
    height = random.normal(size=prototypes) * 1.5
    source_shares = random.dirichlet(np.full(len(SOURCES), 0.7), prototypes)
    region_shares = random.dirichlet(np.full(len(REGIONS), 0.5), prototypes)
    early, late = random.dirichlet(np.full(prototypes, 1.5), 2)
    left, right = random.random(len(SOURCES)) < 0.5, random.random(len(REGIONS)) < 0.5
    exclusive = random.uniform(0.5, 1.1)

    def draw(random: np.random.Generator, times: Floats) -> tuple[pl.DataFrame, Floats]:
        mix = np.cumsum(early + times[:, None] * (late - early), axis=1)
        of = np.minimum((random.random((len(times), 1)) > mix).sum(axis=1), prototypes - 1)
        x = centres[of] + random.normal(size=(len(times), columns)) * 0.8
        source, where = (
            np.minimum(
                (random.random((len(times), 1)) > shares[of].cumsum(axis=1)).sum(axis=1), shares.shape[1] - 1
            )
            for shares in (source_shares, region_shares)
        )
        near = -0.5 * ((x[:, None, :] - centres) ** 2).sum(axis=2) / 0.9
        near += 0.5 * np.log(0.02 + source_shares[:, source].T) + 0.5 * np.log(
            0.02 + region_shares[:, where].T
        )
        near = np.exp(near - near.max(axis=1, keepdims=True))
        raw = (near / near.sum(axis=1, keepdims=True)) @ height
        raw = raw + exclusive * np.where(left[source] ^ right[where], 1.0, -1.0)
        return _frame(np.round(np.exp(x), 3), source=(SOURCES, source), region=(REGIONS, where)), raw

    return draw


def _additive(random: np.random.Generator) -> Draw:
    columns = int(random.integers(5, 9))
    loadings, tail = random.uniform(0.3, 1.0, columns), random.uniform(0.5, 1.5)
    slopes = random.normal(size=columns) * (random.random(columns) < 0.7)
    bends = random.normal(size=columns) * 0.4
    by_source, by_region = random.normal(size=len(SOURCES)) * 0.5, random.normal(size=len(REGIONS)) * 0.4

    def draw(random: np.random.Generator, times: Floats) -> tuple[pl.DataFrame, Floats]:
        count = len(times)
        x = _touchpoints(random, count, loadings, tail)
        source, where = random.integers(len(SOURCES), size=count), random.integers(len(REGIONS), size=count)
        z = _scores(x)
        raw = z @ slopes + z**2 @ bends + by_source[source] + by_region[where]
        return _frame(x, source=(SOURCES, source), region=(REGIONS, where)), raw

    return draw


def _network(random: np.random.Generator) -> Draw:
    columns = int(random.integers(5, 9))
    width = columns + len(SOURCES) + len(SIZES)
    first = random.normal(size=(width, 12)) * 1.1 / np.sqrt(columns / 2)
    second = random.normal(size=(12, 6)) * 0.8
    last, bend = random.normal(size=6), random.normal(size=12) * 0.5

    def draw(random: np.random.Generator, times: Floats) -> tuple[pl.DataFrame, Floats]:
        count = len(times)
        shared = random.normal(size=(count, 1))
        z = 0.5 * shared + random.normal(size=(count, columns)) * 0.9
        source, size = random.integers(len(SOURCES), size=count), random.integers(3, size=count)
        visible = np.column_stack([z, np.eye(len(SOURCES))[source], np.eye(len(SIZES))[size]])
        raw = np.tanh(np.tanh(visible @ first + bend) @ second) @ last
        return _frame(np.round(np.sinh(z), 3), source=(SOURCES, source), size=(SIZES, size)), raw

    return draw


def _smooth(random: np.random.Generator) -> Draw:
    columns, waves = int(random.integers(3, 7)), 200
    frequencies = random.normal(size=(waves, columns)) / random.uniform(0.9, 1.8)
    phases, heights = random.uniform(0, 2 * np.pi, waves), random.normal(size=waves)
    by_source = random.normal(size=(len(SOURCES), waves)) * 0.4

    def draw(random: np.random.Generator, times: Floats) -> tuple[pl.DataFrame, Floats]:
        count = len(times)
        z = random.normal(size=(count, columns)) * 0.8 + 0.6 * random.normal(size=(count, 1))
        source = random.integers(len(SOURCES), size=count)
        raw = (np.cos(z @ frequencies.T + phases) * (heights + by_source[source])).sum(axis=1)
        return _frame(np.round(np.exp(z), 3), source=(SOURCES, source)), raw

    return draw


def _rules(random: np.random.Generator) -> Draw:
    columns = int(random.integers(6, 10))
    loadings = random.uniform(0.3, 1.0, columns)
    rules = [
        (
            random.choice(columns, 2, replace=False),
            random.uniform(0.5, 4.5, 2),
            random.random(2) < 0.5,
            random.random(len(SOURCES)) < 0.5,
            random.normal(),
        )
        for _ in range(14)
    ]

    def draw(random: np.random.Generator, times: Floats) -> tuple[pl.DataFrame, Floats]:
        count = len(times)
        x = _touchpoints(random, count, loadings, 1.0)
        source, where = random.integers(len(SOURCES), size=count), random.integers(len(REGIONS), size=count)
        raw = np.zeros(count)
        for at, limits, above, words, height in rules:
            raw += height * ((x[:, at] > limits) == above).all(axis=1) * words[source]
        return _frame(x, source=(SOURCES, source), region=(REGIONS, where)), raw

    return draw


def _needle(random: np.random.Generator) -> Draw:
    columns = 25
    loadings = random.uniform(0.0, 0.9, columns)
    first, second, third, fourth, fifth, sixth = random.choice(columns, 6, replace=False)
    weights = random.normal(size=4)

    def draw(random: np.random.Generator, times: Floats) -> tuple[pl.DataFrame, Floats]:
        count = len(times)
        x = _touchpoints(random, count, loadings, 0.8)
        size = random.integers(3, size=count)
        raw = weights[0] * np.abs(np.log((x[:, first] + 1) / (x[:, second] + 1)))
        raw += 3 * weights[1] * x[:, third] / (x[:, third] + x[:, fourth] + 1) * (size - 1)
        raw += 1.5 * np.sign(weights[2]) * _scores(x[:, fifth]) * _scores(x[:, sixth])
        raw += 0.5 * weights[3] * (size == 2)
        return _frame(x, size=(SIZES, size)), raw

    return draw


def _frame(x: Floats, **words: tuple[tuple[str, ...], NDArray[np.intp]]) -> pl.DataFrame:
    numbers = {f"n{place}": column for place, column in enumerate(x.T)}
    return pl.DataFrame(
        numbers | {name: np.array(levels)[codes].tolist() for name, (levels, codes) in words.items()}
    )


_WORLDS: dict[str, Callable[[np.random.Generator], Draw]] = {
    "interactions": _interactions,
    "thresholds": _thresholds,
    "clusters": _clusters,
    "network": _network,
    "additive": _additive,
    "smooth": _smooth,
    "rules": _rules,
    "needle": _needle,
}
KINDS = tuple(_WORLDS)
