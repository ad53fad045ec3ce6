"""The columns of a table of features, whose names every warehouse can have."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

LEAD_ID, AS_OF, FINGERPRINT = "lead_id", "as_of", "feature_set"
KEY_COLUMNS = (LEAD_ID, AS_OF, FINGERPRINT)
OBSERVED_UNTIL = "observed_until"
LABEL_COLUMNS = ("account_id", "label", "settled_at", "matured", OBSERVED_UNTIL)
"""What a training set has beside the features: the lead's account, and what ``compute_labels`` says."""

# PostgreSQL cuts a longer name off, and two may then be one.
_LONGEST = 63
_HASH = 6


def table_columns(names: Iterable[str]) -> dict[str, str]:
    """The column of each feature: lower-case letters, digits and underscores, no two alike.

    Dots, blanks and capital letters are spelled in five ways in five warehouses, or not at all. Where two
    features would get one name, or a name is too long, it ends with digits of a hash of the feature's own.

    Args:
        names: The features.

    >>> table_columns(["demo_request.count.30d", "Größe"])
    {'demo_request.count.30d': 'demo_request_count_30d', 'Größe': 'grosse'}
    >>> sorted(table_columns(["a.b", "a b", "label"]).values())
    ['a_b_2e7336', 'a_b_c8687a', 'label_1aca80']
    """
    plain = {name: _plain_name(name) for name in names}
    uses = Counter((*plain.values(), *KEY_COLUMNS, *LABEL_COLUMNS))
    return {
        name: column if uses[column] == 1 and len(column) <= _LONGEST else _with_hash(column, name)
        for name, column in plain.items()
    }


def _plain_name(name: str) -> str:
    letters = unicodedata.normalize("NFKD", name.casefold())
    ascii_letters = letters.encode("ascii", "ignore").decode()
    column = re.sub(r"[^a-z0-9]+", "_", ascii_letters).strip("_")
    return column if column[:1].isalpha() else f"f_{column}".rstrip("_")


def _with_hash(column: str, name: str) -> str:
    return f"{column[: _LONGEST - _HASH - 1]}_{hashlib.sha256(name.encode()).hexdigest()[:_HASH]}"
