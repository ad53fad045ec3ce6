"""What people decide beside the model's choice: a lead that is handed over all the same, or taken off a list.

Every override is logged with who said so and why, and none is changed: the newest about a lead counts, until
its time is over or it is withdrawn.
"""

from __future__ import annotations

from dataclasses import asdict
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, insert, select

from features.clock import DAY
from serving.decision_log.erasure import erased_since, lock_against_erasure
from serving.decision_log.records import Override
from serving.decision_log.tables import HANDOVER_OVERRIDES, LEAD_RANKS, NAMED_SCORES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import Connection, Engine, Select

    from serving.decision_log.records import OverrideAction

_OVERRIDE = HANDOVER_OVERRIDES.c


def add_override(connection: Connection, override: Override, received_at: float) -> bool:
    """Log an override; False, and nothing is logged, where the lead was never scored or was erased since."""
    lock_against_erasure(connection)
    lead = (override.tenant, override.lead_id)
    known = decision_of_lead(override.lead_id, override.tenant, override.model)
    if connection.execute(known).first() is None or erased_since(connection, [lead], received_at):
        return False
    connection.execute(insert(HANDOVER_OVERRIDES), [asdict(override)])
    return True


def decision_of_lead(lead_id: str, tenant: str, model: str = "") -> Select[Any]:
    """The number of the decision that a model ranks a lead by; no row where it has none."""
    leads = NAMED_SCORES.c if model else LEAD_RANKS.c
    own = leads.model == model if model else leads.value_name == ""
    is_it = (leads.tenant == tenant, leads.lead_id == lead_id, own, leads.decision_id > 0)
    return select(leads.decision_id).where(*is_it)


def active_overrides(connection: Connection, tenant: str, now: int, model: str = "") -> list[Override]:
    """What counts now, the newest about each lead, in the order in which it was reported.

    Args:
        connection: A connection to the log.
        tenant: Whose leads; "" means those of all.
        now: Epoch seconds.
        model: The name of the model whose lists they are about. Default: the default one.

    Returns:
        Overrides that were not withdrawn.
    """
    own = [_OVERRIDE.model == model, *([_OVERRIDE.tenant == tenant] if tenant else [])]
    newest = select(func.max(_OVERRIDE.id)).where(*own).group_by(_OVERRIDE.tenant, _OVERRIDE.lead_id)
    query = (
        select(HANDOVER_OVERRIDES)
        .where(_OVERRIDE.id.in_(newest), _OVERRIDE.until > now, _OVERRIDE.action != "withdraw")
        .order_by(_OVERRIDE.id)
    )
    return [_override(row) for row in connection.execute(query).mappings()]


def overrides_by_lead(
    log: Engine, tenant: str = "", model: str = ""
) -> dict[tuple[str, str], list[Override]]:
    """All overrides about a model's lists, in the order in which they were reported, by tenant and lead."""
    own = [_OVERRIDE.model == model, *([_OVERRIDE.tenant == tenant] if tenant else [])]
    by_lead: dict[tuple[str, str], list[Override]] = {}
    with log.connect() as connection:
        rows = connection.execute(select(HANDOVER_OVERRIDES).where(*own).order_by(_OVERRIDE.id)).mappings()
        for override in map(_override, rows):
            by_lead.setdefault((override.tenant, override.lead_id), []).append(override)
    return by_lead


def overrides_of_lead(log: Engine, lead_id: str, tenant: str = "") -> Iterator[Override]:
    """All overrides about a lead that are logged, in the order in which they were reported."""
    own = [_OVERRIDE.lead_id == lead_id, *([_OVERRIDE.tenant == tenant] if tenant else [])]
    with log.connect() as connection:
        rows = connection.execute(select(HANDOVER_OVERRIDES).where(*own).order_by(_OVERRIDE.id)).mappings()
        yield from map(_override, rows)


def action_on(overrides: Sequence[Override], day: int) -> OverrideAction | None:
    """What people had decided about a lead by the end of a day; None where nothing, or no longer anything.

    Args:
        overrides: All about the lead, in the order in which they were reported.
        day: Epoch seconds of the day's midnight.
    """
    by_then = [each for each in overrides if each.recorded_at < day + DAY]
    return by_then[-1].action if by_then and by_then[-1].until > day else None


def is_handed_over_by_hand(overrides: Sequence[Override]) -> bool:
    """Whether people ever handed a lead over and did not withdraw that."""
    following = [each.action for each in overrides[1:]]
    pairs = zip_longest((each.action for each in overrides), following)
    return any(action == "hand_over" and then != "withdraw" for action, then in pairs)


def prune_overrides(connection: Connection, before: int) -> None:
    """Delete overrides that were reported and were over before a time (epoch seconds)."""
    connection.execute(
        delete(HANDOVER_OVERRIDES).where(_OVERRIDE.recorded_at < before, _OVERRIDE.until <= before)
    )


def _override(row: Mapping[Any, Any]) -> Override:
    return Override(**{name: value for name, value in row.items() if name != "id"})
