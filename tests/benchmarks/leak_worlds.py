"""Made-up exports of four languages with leaks of many mechanisms beside columns that are strong but honest.

Other words and mechanisms than those by which the checks were mended, and run for the first time when that
was done; but their author knew the checks. Whoever mends a check by these needs new ones to prove it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from scipy.optimize import brentq
from scipy.special import expit

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.random import Generator
    from numpy.typing import NDArray

    Column = NDArray[np.generic] | list[object]
    Names = tuple[str, str, str, str]
    Floats = NDArray[np.float64]

LEAKS_EACH = 3


@dataclass
class Company:
    """Leads with a hidden ``intent``; columns add to the log-``odds`` until it is settled who ``won``."""

    random: Generator
    language: int
    intent: Floats
    day: Floats
    odds: Floats
    won: NDArray[np.bool_]

    @classmethod
    def drawn(cls, seed: int, rows: int) -> Company:
        """Leads of two years, of whom nothing is settled yet."""
        random = np.random.default_rng([seed, rows])
        intent = random.normal(size=rows)
        odds = random.uniform(0.6, 1.2) * intent
        return cls(
            random, seed % 4, intent, np.sort(random.uniform(0, 730, rows)), odds, np.zeros(rows, bool)
        )

    def settle(self) -> None:
        """Draw who converts: between 4 and 40 %."""
        rate = self.random.uniform(0.04, 0.4)
        level = brentq(lambda at: expit(self.odds + at).mean() - rate, -15, 15)
        self.won = self.random.random(len(self.odds)) < expit(self.odds + level)

    def some(self, of_won: float, of_others: float | None = None) -> NDArray[np.bool_]:
        """Leads by lot, such a share of either outcome."""
        share = of_won if of_others is None else np.where(self.won, of_won, of_others)
        return np.asarray(self.random.random(len(self.odds)) < share)

    def words(self, *words: str) -> NDArray[np.str_]:
        """One of these for each lead, by chance alone."""
        return self.random.choice(np.array(words), len(self.odds))

    def poisson(self, of_won: float, of_others: float) -> NDArray[np.int64]:
        """Counts of such means."""
        return self.random.poisson(np.where(self.won, of_won, of_others))

    def moved(self, effect: NDArray[np.generic], column: Column) -> Column:
        """An honest column, after its effect on the odds."""
        self.odds = self.odds + effect
        return column

    def yes(self, flags: NDArray[np.bool_]) -> Column:
        """Yes and no in the company's language."""
        yes = ("yes", "ja", "sí", "oui")[self.language]
        no = ("no", "nein", "no", "non")[self.language]
        return np.where(flags, yes, no)


def blank(column: NDArray[np.generic], kept: NDArray[np.bool_]) -> list[object]:
    """The column, and nothing where it was not kept."""
    return [value if keep else None for value, keep in zip(column.tolist(), kept, strict=True)]


def _channel(company: Company) -> Column:
    names = ("walk-in", "recommended", "search", "bought list", "event", "radio")
    place = company.random.choice(6, len(company.odds), p=[0.1, 0.12, 0.38, 0.2, 0.15, 0.05])
    return company.moved(np.array([0.5, 1.6, 0.0, -1.5, 0.3, -0.2])[place], np.array(names)[place])


def _trial(company: Company) -> Column:
    started = company.random.random(len(company.odds)) < expit(company.intent - 1.5)
    return company.moved(1.8 * started, company.yes(started))


def _readiness(company: Company) -> Column:
    return (
        np.digitize(company.intent + company.random.normal(0, 0.8, len(company.odds)), [-1, -0.2, 0.6, 1.4])
        + 1
    )


def _band(company: Company) -> Column:
    told = company.random.random(len(company.odds)) < expit(0.4 + 0.7 * company.intent)
    return company.moved(0.8 * told, blank(company.words("S", "M", "L", "XL"), told))


def _tariff(company: Company) -> Column:
    """Two of five decide much, and honestly: it was asked for before anybody called."""
    place = company.random.integers(0, 5, len(company.odds))
    return company.moved(np.array([0, 0.3, -0.6, 2.0, -2.0])[place], np.array(list("VWXYZ"))[place])


HONEST: dict[Names, Callable[[Company], Column]] = {
    ("heard through", "aufmerksam durch", "nos conoció por", "connu par"): _channel,
    ("test account opened", "Testzugang", "cuenta de prueba", "compte d'essai"): _trial,
    (
        "own readiness 1-5",
        "Kaufabsicht laut Formular",
        "intención declarada",
        "intention déclarée",
    ): _readiness,
    ("spending band", "Preisklasse", "franja de gasto", "tranche de prix"): _band,
    ("tariff asked for", "Wunschtarif", "tarifa pedida", "tarif demandé"): _tariff,
    ("articles read", "gelesene Artikel", "artículos leídos", "articles lus"): lambda c: c.random.poisson(
        np.exp(0.8 + 0.6 * c.intent)
    ),
    ("seats wanted", "Plätze", "plazas", "places"): lambda c: np.exp(
        c.random.normal(2 + 0.4 * c.intent)
    ).round(),
    ("quarter", "Quartal", "trimestre", "trimestre"): lambda c: c.moved(
        0.7 * np.sin(c.day / 58), (c.day // 91 % 4 + 1).astype(int)
    ),
    ("tracking", "Kennung", "seguimiento", "suivi"): lambda c: np.array(
        [f"t{n}" for n in c.random.integers(0, 300, len(c.odds))]
    ),
    ("weather", "Wetter", "tiempo", "météo"): lambda c: c.words("sun", "rain", "snow"),
    ("shoe size", "Schuhgröße", "talla", "pointure"): lambda c: blank(
        c.random.integers(35, 47, len(c.odds)), c.some(0.6)
    ),
    ("extension", "Durchwahl", "extensión", "poste"): lambda c: c.random.integers(10, 99, len(c.odds)),
}


def _case_code(company: Company) -> Column:
    return np.char.add(company.words("N", "S", "E"), np.where(company.some(0.88, 0.04), "-F", ""))


def _credit(company: Company) -> Column:
    given = np.where(company.some(0.92, 0.1), company.words("A", "B"), company.words("C", "D"))
    return blank(given, company.some(0.9, 0.3))


def _since(company: Company) -> Column:
    """Written since a new system came, for the newest two fifths of the leads."""
    return blank(np.where(company.some(0.97, 0.02), "ok", "ko"), company.day > 0.6 * company.day.max())


LEAKS: dict[Names, Callable[[Company], Column]] = {
    ("starter box", "Begrüßungspaket", "paquete inicial", "coffret"): lambda c: c.yes(c.some(0.92, 0.03)),
    ("set-up step", "Einrichtungsschritt", "paso de alta", "étape de mise en route"): lambda c: np.where(
        c.some(0.93, 0.03), c.random.integers(2, 7, len(c.odds)), 0
    ),
    ("versions of quote", "Angebotsversionen", "versiones de oferta", "versions du devis"): lambda c: (
        c.poisson(3.0, 0.4)
    ),
    ("commission", "Provision", "comisión", "commission"): lambda c: blank(
        c.random.lognormal(5, 1, len(c.odds)).round(2), c.some(0.8, 0.02)
    ),
    ("code of exit", "Ausschlusskennziffer", "código de salida", "code de sortie"): lambda c: blank(
        c.random.integers(1, 10, len(c.odds)), c.some(0.02, 0.65)
    ),
    ("signed off by", "freigegeben durch", "visto bueno de", "validé par"): lambda c: blank(
        c.words("Orr", "Pym", "Rao"), c.some(0.85, 0.05)
    ),
    ("credit class", "Bonitätsklasse", "clase crediticia", "classe de crédit"): _credit,
    ("heat", "Wärmegrad", "temperatura", "chaleur"): lambda c: np.where(
        c.some(0.6, 0.01), "hot", c.words("warm", "cold")
    ),
    ("locked", "gesperrt", "bloqueado", "verrouillé"): lambda c: c.some(0.02, 0.7).astype(int),
    ("new system", "Neusystem", "sistema nuevo", "nouveau système"): _since,
    ("margin", "Deckungsbeitrag", "margen", "marge"): lambda c: np.where(
        c.some(0.9, 0.03), c.random.normal(200, 300, len(c.odds)).round(1), 0.0
    ),
    ("district", "Bezirk", "distrito", "secteur"): _case_code,
    ("minutes talked", "Gesprächsminuten", "minutos hablados", "minutes au téléphone"): lambda c: np.exp(
        c.random.normal(np.where(c.won, 3.8, 1.8), 0.8)
    ).round(),
    ("stars", "Sterne", "estrellas", "étoiles"): lambda c: blank(
        c.random.integers(3, 6, len(c.odds)), c.some(0.35, 0.003)
    ),
}
PAIR: tuple[Names, Names] = (("a", "Merkmal a", "a", "a"), ("b", "Merkmal b", "b", "b"))


def pair(company: Company) -> tuple[Column, Column]:
    """Two codes that are the outcome only together."""
    first, second = (company.random.integers(0, 4, len(company.odds)) for _ in range(2))
    wrong = ((first + second) % 2 == 1) != company.won
    return first, np.where(wrong & company.some(0.93), (second + 1) % 4, second)


def export(seed: int, rows: int) -> tuple[pl.DataFrame, dict[str, str]]:
    """A company's leads, and of the columns that leak the English name; every fourth company has no leaks.

    The mechanisms take turns, three and at times a pair in each company.
    """
    company = Company.drawn(seed, rows)
    columns = {names[company.language]: make(company) for names, make in _mixed(company, HONEST)}
    company.settle()
    leaks: dict[str, str] = {}
    if seed % 4 != 3:
        turn = seed - seed // 4
        for names, make in (list(LEAKS.items()) * 2)[turn * LEAKS_EACH % len(LEAKS) :][:LEAKS_EACH]:
            columns[names[company.language]] = make(company)
            leaks[names[company.language]] = names[0]
        if turn % 5 == 0:
            for names, column in zip(PAIR, pair(company), strict=True):
                columns[names[company.language]] = column
                leaks[names[company.language]] = "pair"
    frame = pl.DataFrame({name: pl.Series(name, column) for name, column in columns.items()})
    return frame.with_columns(Outcome=pl.Series(company.won.astype(int))), leaks


def _mixed(
    company: Company, makers: dict[Names, Callable[[Company], Column]]
) -> list[tuple[Names, Callable[[Company], Column]]]:
    order = company.random.permutation(len(makers))
    return [list(makers.items())[place] for place in order]
