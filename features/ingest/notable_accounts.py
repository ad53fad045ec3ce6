"""Accounts that may be no companies: words for unknown, mail providers, and those with very many leads."""

from __future__ import annotations

import polars as pl


def notable_accounts(accounts: pl.Series) -> pl.DataFrame:
    """The accounts that may be no companies, by their name or by how many leads they have.

    Args:
        accounts: The account of each lead; null is none.

    Returns:
        ``account_id``, ``len`` (its leads) and ``is_word`` (whether its name says that it is no company).
    """
    sizes = accounts.drop_nulls().cast(pl.String).alias("account_id").to_frame().group_by("account_id").len()
    is_word = pl.col("account_id").str.strip_chars().str.to_lowercase().is_in(NO_COMPANIES)
    sizes = sizes.with_columns(is_word=is_word)
    return sizes.filter((pl.col("len") > LARGE_ACCOUNT) | (pl.col("is_word") & (pl.col("len") > 1)))


def account_notices(notable: pl.DataFrame, leads: int) -> tuple[str, ...]:
    """Sentences on accounts that are no companies.

    Args:
        notable: What ``notable_accounts`` found.
        leads: How many leads there are in all.
    """
    notable = notable.sort("len", "account_id", descending=True)
    words, large = notable.filter("is_word"), notable.filter(~pl.col("is_word"))
    notices = []
    if words.height:
        sizes = words.select("account_id", "len").head(_MOST_NAMED).rows()
        named = ", ".join(f"{name!r} ({size:,} leads)" for name, size in sizes)
        others = f" and {words.height - _MOST_NAMED:,} more" if words.height > _MOST_NAMED else ""
        notices.append(
            f"leads: accounts that are no companies: {named}{others}; leave the account of these leads "
            "empty: now each of them counts as a colleague of all others with the same word"
        )
    if large.height:
        name, size = large.select("account_id", "len").row(0)
        others = f", and {large.height - 1:,} more accounts are as large" if large.height > 1 else ""
        notices.append(
            f"leads: account {name!r} has {size:,} of the {leads:,} leads{others}; if that is no company "
            "but a word for unknown or a mail provider, leave the account of these leads empty: now each of "
            "them counts as a colleague of all others"
        )
    return tuple(notices)


_MOST_NAMED = 5
_WORDS = """
unknown unbekannt n/a na n.a. none null nil - -- ? . tbd test private privat individual other sonstige k.a.
gmail gmx hotmail yahoo outlook icloud gmail.com googlemail.com yahoo.com yahoo.de yahoo.co.uk hotmail.com
hotmail.de hotmail.co.uk outlook.com outlook.de live.com live.de msn.com icloud.com me.com mac.com aol.com
gmx.de gmx.net gmx.at gmx.ch gmx.com web.de freenet.de t-online.de arcor.de mail.com protonmail.com proton.me
pm.me zoho.com yandex.com yandex.ru mail.ru qq.com 163.com 126.com orange.fr free.fr laposte.net libero.it
"""


_PHRASES = ("not provided", "[not provided]", "no company", "no account", "keine angabe", "keine firma")


NO_COMPANIES = frozenset((*_WORDS.split(), *_PHRASES))
"""What stands for an account in CRMs where there is no company: words for unknown, and mail providers."""


LARGE_ACCOUNT = 1_000
"""With more leads than this an account is hardly a company; nothing is cut off, but the reader is told."""
