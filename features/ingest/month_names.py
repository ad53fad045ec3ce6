"""Names of months in the languages in which CRMs write dates, and the short forms that they use."""

from __future__ import annotations

import polars as pl

ENGLISH = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
_NAMES = (
    # English, German, French, Spanish, Portuguese, Italian, Dutch, Scandinavian and Polish, with short forms.
    "jan january januar jän jänner januari janvier janv enero ene janeiro gennaio gen stycznia",
    "feb february februar feber februari février fevrier févr fevr fév febrero fevereiro fev febbraio lutego",
    "mar march mär märz maerz mrz mars marzo março marco maart mrt marts marca",
    "apr april avril avr abril abr aprile kwietnia",
    "may mai mayo maio maggio mag mei maj maja",
    "jun june juni juin junio junho giugno giu czerwca",
    "jul july juli juillet juil julio julho luglio lug lipca",
    "aug august août aout aoû agosto ago augustus augusti sierpnia",
    "sep sept september septembre septiembre setiembre setembro set settembre september września",
    "oct okt october oktober octobre octubre outubro out ottobre ott października",
    "nov november novembre noviembre novembro listopada",
    "dec dez december dezember décembre decembre déc diciembre dic dezembro dicembre grudnia",
)
MONTH_NUMBERS = {name: number for number, names in enumerate(_NAMES, 1) for name in names.split()}
_ENGLISH_NAMES = {name: ENGLISH[number - 1] for name, number in MONTH_NUMBERS.items()}
_NAMED_MONTH = r"^([^\p{L}]*)(?:de )?(\p{L}{3,})\.?( de )?(.*)$"
_OF = r"(?i) (?:de|del) "


def parse_months(column: pl.Series) -> pl.Series:
    """Int64 numbers 1 to 12 of names of months; null for anything else.

    >>> parse_months(pl.Series(["Feb", "März", "juin", "Smarch"])).to_list()
    [2, 3, 6, None]
    """
    return (
        column.str.to_lowercase()
        .str.strip_chars(". ")
        .replace_strict(MONTH_NUMBERS, default=None, return_dtype=pl.Int64)
    )


def translate_months(text: pl.Series) -> pl.Series:
    """Dates with the names of their months in English, which is what strptime patterns know.

    >>> translate_months(pl.Series(["5. Jänner 2024", "5 de enero de 2024", "05/fév./2024"])).to_list()
    ['5. January 2024', '5 January 2024', '05/February/2024']
    """
    if not text.str.contains(r"\p{L}{3}").any():
        return text
    plain = text.str.replace_all(_OF, " ")
    parts = plain.str.extract_groups(_NAMED_MONTH).struct.unnest()
    month = parts["2"].str.to_lowercase().replace_strict(_ENGLISH_NAMES, default=None, return_dtype=pl.String)
    translated = parts["1"] + month + parts["4"]
    return translated.fill_null(text)


def order_months(months: pl.Series) -> tuple[pl.Series, int]:
    """Months without a year in the order in which they follow each other, and the first of them.

    The months that do not occur lie between the last one and the first: of December, January and February
    December is the first.

    >>> order_months(pl.Series([12, 1, 2, 12]))[0].to_list()
    [12, 13, 14, 12]
    """
    present = sorted(months.drop_nulls().unique())
    gaps = [
        (later - month, later) for month, later in zip(present, [*present[1:], present[0] + 12], strict=True)
    ]
    _, after = max(gaps)
    first = (after - 1) % 12 + 1
    return months + 12 * (months < first).cast(pl.Int64), first
