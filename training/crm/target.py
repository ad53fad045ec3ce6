"""The target of a push as the command line gives it: CRM, address, key, object and fields."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, assert_never

from training.crm import dynamics, hubspot, odoo, rest, salesforce, sql_table
from training.crm.http_client import TOKEN, http_session, optional_token, token_from_environment
from training.crm.oauth import CLIENT_ID, credentials_from_environment, has_client
from training.crm.protocol import CrmAdapter, CrmName, PushError, field_name, validate_base_url
from training.crm.rest import Method, places_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from contextlib import AbstractContextManager

    from training.crm.http_client import Send

_FIELDS = {
    "dynamics": dynamics.FIELDS,
    "hubspot": hubspot.FIELDS,
    "odoo": odoo.FIELDS,
    "rest": rest.FIELDS,
    "salesforce": salesforce.FIELDS,
    "sql": sql_table.FIELDS,
}
_WITH_KEY = ("hubspot", "salesforce", "sql")
_WITH_TOKEN = ("dynamics", "hubspot", "odoo", "rest", "salesforce")
_WITH_OBJECT = ("hubspot", "odoo", "salesforce", "sql")


@dataclass(frozen=True, slots=True)
class CrmTarget:
    """The CRM to push to.

    Attributes:
        name: "dynamics", "hubspot", "odoo", "rest", "salesforce" or "sql".
        url: Its address; of ``rest`` with ``{lead_id}`` in it, of ``sql`` that of the database. Default:
            HubSpot's own; the others need one.
        key: The field with our lead ids. Default: the CRM's record ids.
        mapped: The column of the scores for each field. Default: the adapter's fields.
        object: What is written to: an object of HubSpot or Salesforce, a model of Odoo, a table of ``sql``.
            Default: the CRM's contacts or leads; ``sql`` needs one.
        method: The HTTP method of ``rest``.
        body: The parsed template of a body of ``rest``. Default: the fields as an object.
        database: The database of an Odoo that has several.
        token_url: Where a client gets its token by OAuth. Default: of Salesforce the organisation's own.
        scope: What such a token is for. Default: of Dynamics the environment.
    """

    name: CrmName
    url: str | None = None
    key: str | None = None
    mapped: Mapping[str, str] = field(default_factory=dict)
    object: str | None = None
    method: Method = "PATCH"
    body: Any = None
    database: str | None = None
    token_url: str | None = None
    scope: str | None = None

    @property
    def fields(self) -> Mapping[str, str]:
        """The column for each of the CRM's fields: those mapped, or else the usual ones.

        The names in a template of a body are columns themselves.
        """
        if self.body is not None:
            return {name: name for name in places_of(self.body) if name != rest.LEAD_ID}
        return self.mapped or _FIELDS[self.name]

    def crm(self) -> CrmAdapter:  # noqa: C901 - a case a CRM
        """The CRM's format at the target's address. Raises PushError where something is missing."""
        self._refuse_unknown_options()
        key = self.key and field_name(self.key)
        match self.name:
            case "hubspot":
                url = validate_base_url(self.url or hubspot.API)
                return hubspot.HubSpot(url, key, self._object(hubspot.OBJECT))
            case "salesforce":
                url = validate_base_url(self._required_url())
                return salesforce.Salesforce(url, key, self._object(salesforce.OBJECT))
            case "dynamics":
                return dynamics.Dynamics(validate_base_url(self._required_url()))
            case "odoo":
                url = validate_base_url(self._required_url())
                return odoo.Odoo(url, self._object(odoo.MODEL), self.database)
            case "rest":
                url = self._required_url()
                validate_base_url(url.partition("?")[0])
                if "{lead_id}" not in url and rest.LEAD_ID not in places_of(self.body):
                    msg = "--url names no lead: write {lead_id} where its id belongs, or name it in --body"
                    raise PushError(msg)
                return rest.Rest(url, self.method, self.body)
            case "sql":
                url = sql_table.validate_database_url(self._required_url())
                if self.object is None or key is None:
                    msg = "--object and --key are missing: name the table, and its column with our lead ids"
                    raise PushError(msg)
                return sql_table.SqlTable(url, self.object, key)
            case _:
                assert_never(self.name)

    def session(self) -> AbstractContextManager[Send]:
        """Sends the requests of ``crm``, with the token of the environment, or one that its client gets.

        Raises PushError where the environment has neither, or both.
        """
        if self.name == "sql":
            return sql_table.sql_session(self._required_url(), optional_token())
        credentials = credentials_from_environment(self._token_url(), self._scope())
        if credentials is None:
            return http_session(token_from_environment())
        if optional_token() is not None:
            msg = f"{TOKEN} and {CLIENT_ID} are both set; unset one of them"
            raise PushError(msg)
        return http_session(credentials)

    def _token_url(self) -> str | None:
        is_own = self.token_url is None and self.name == "salesforce" and self.url and has_client()
        return f"{validate_base_url(str(self.url))}/services/oauth2/token" if is_own else self.token_url

    def _scope(self) -> str | None:
        is_own = self.scope is None and self.name == "dynamics" and self.url
        return f"{validate_base_url(str(self.url))}/.default" if is_own else self.scope

    def _object(self, usual: str) -> str:
        return usual if self.object is None else ".".join(map(field_name, self.object.split(".")))

    def _required_url(self) -> str:
        if self.url is None:
            what = "database" if self.name == "sql" else f"{self.name} organisation, https://HOST"
            msg = f"--url is missing: give the address of your {what}"
            raise PushError(msg)
        return self.url

    def _refuse_unknown_options(self) -> None:
        options = (
            ("--key", self.key, _WITH_KEY),
            ("--object", self.object, _WITH_OBJECT),
            ("--body", self.body, ("rest",)),
            ("--database", self.database, ("odoo",)),
            ("--token-url", self.token_url, _WITH_TOKEN),
            ("--scope", self.scope, _WITH_TOKEN),
        )
        for option, value, names in options:
            if value is not None and self.name not in names:
                msg = f"{option} is for {', '.join(names)}; {self.name} has no use for it"
                raise PushError(msg)
        if self.mapped and self.body is not None:
            msg = "--map and --body cannot be combined; give one of them"
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
