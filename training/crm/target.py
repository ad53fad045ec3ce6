"""The target of a push as the command line gives it: CRM, address, key and fields."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, assert_never

from training.crm import dynamics, hubspot, salesforce
from training.crm.protocol import CrmAdapter, CrmName, PushError, field_name, validate_base_url

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_FIELDS = {"dynamics": dynamics.FIELDS, "hubspot": hubspot.FIELDS, "salesforce": salesforce.FIELDS}


@dataclass(frozen=True, slots=True)
class CrmTarget:
    """The CRM to push to.

    Attributes:
        name: "dynamics", "hubspot" or "salesforce".
        url: Its address. Default: HubSpot's own; the others need one.
        key: The field with our lead ids. Default: the CRM's record ids.
        mapped: The column of the scores for each field. Default: the adapter's fields.
    """

    name: CrmName
    url: str | None = None
    key: str | None = None
    mapped: Mapping[str, str] = field(default_factory=dict)

    @property
    def fields(self) -> Mapping[str, str]:
        """The column for each of the CRM's fields: those mapped, or else the usual ones."""
        return self.mapped or _FIELDS[self.name]

    def crm(self) -> CrmAdapter:
        """The CRM's format at the target's address. Raises PushError where something is missing."""
        key = self.key and field_name(self.key)
        match self.name:
            case "hubspot":
                return hubspot.HubSpot(validate_base_url(self.url or hubspot.API), key)
            case "salesforce":
                return salesforce.Salesforce(validate_base_url(self._required_url()), key)
            case "dynamics":
                url = self._required_url()
                self._refuse_key()
                return dynamics.Dynamics(validate_base_url(url))
            case _:
                assert_never(self.name)

    def _required_url(self) -> str:
        if self.url is None:
            msg = f"--url is missing: give the address of your {self.name} organisation, https://HOST"
            raise PushError(msg)
        return self.url

    def _refuse_key(self) -> None:
        if self.key:
            msg = f"--key is for hubspot and salesforce; {self.name} finds a lead by its id alone"
            raise PushError(msg)


def parse_field_mapping(pairs: Iterable[str]) -> dict[str, str]:
    """The pairs FIELD=COLUMN as a mapping. Raises PushError for a pair without "=".

    >>> parse_field_mapping(["Score__c=score", "Why__c=reason_1"])
    {'Score__c': 'score', 'Why__c': 'reason_1'}
    """
    mapped = {}
    for pair in pairs:
        crm_field, equals, column = pair.partition("=")
        if not equals or not column:
            msg = f"--map {pair}: write FIELD=COLUMN, the CRM's field and the column of the scores"
            raise PushError(msg)
        mapped[field_name(crm_field)] = column
    return mapped
