"""Drafts of ``init`` with one horizon and grid for all: those that it chooses depend on the rows."""

from __future__ import annotations

import re


def with_common_horizon(text):
    """The text of a configuration with snapshots every 30 days, up to an age and with a horizon of 90."""
    text = re.sub(r'^((?:# )?(?:horizon|until_age)) = "\d+d"', r'\1 = "90d"', text, flags=re.MULTILINE)
    return re.sub(r'^((?:# )?every) = "\d+d"', r'\1 = "30d"', text, flags=re.MULTILINE)
