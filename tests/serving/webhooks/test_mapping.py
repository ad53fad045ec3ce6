"""A CRM's own messages become events of the store, in the shapes that the vendors document."""

from __future__ import annotations

import json

import pytest

from serving.webhooks.mapping import MappedEvent, Mapper, MappingError, UnmappedItem, parse_soap
from serving.webhooks.settings import parse_webhooks


def mapper(tmp_path, recipe, extra=""):
    path = tmp_path / "webhooks.toml"
    path.write_text(f'[incoming.crm]\nrecipe = "{recipe}"\n{extra}')
    return parse_webhooks(path, {}).incoming["crm"].mapper


def events(source, body):
    content = source.parse(body if isinstance(body, bytes) else json.dumps(body).encode())
    return [
        (each.event["type"], {k: v for k, v in each.event.items() if k not in {"type", "id"}})
        if isinstance(each, MappedEvent)
        else (each.path, each.reason)
        for each in source.events(content)
    ]


HUBSPOT = {
    "eventId": 3181526809, "subscriptionId": 25, "portalId": 33, "appId": 1160452, "attemptNumber": 0,
    "occurredAt": 1777000000123, "objectId": 1246965, "changeSource": "CRM", "changeFlag": "NEW",
}  # fmt: skip


def test_hubspots_events_of_contacts_become_leads_transitions_attributes_merges_and_consents(tmp_path):
    extra = 'numbers = ["employees"]\n[incoming.crm.words.attribute]\nnumemployees = "employees"\n'
    source = mapper(tmp_path, "hubspot", extra)
    change = {**HUBSPOT, "subscriptionType": "contact.propertyChange"}
    body = [
        {**HUBSPOT, "subscriptionType": "contact.creation"},
        {**HUBSPOT, "subscriptionType": "object.creation", "objectTypeId": "0-1"},
        {**HUBSPOT, "subscriptionType": "object.creation", "objectTypeId": "0-3"},
        {**change, "propertyName": "lifecyclestage", "propertyValue": "marketingqualifiedlead"},
        {**change, "propertyName": "numemployees", "propertyValue": "120"},
        {**change, "propertyName": "industry", "propertyValue": ""},
        {**HUBSPOT, "subscriptionType": "contact.merge", "primaryObjectId": 1, "mergedObjectIds": [1, 2],
         "newObjectId": 9, "numberOfPropertiesMoved": 3},
        {**HUBSPOT, "subscriptionType": "contact.privacyDeletion"},
        {**change, "propertyName": "numemployees", "propertyValue": "many"},
        "nonsense",
    ]  # fmt: skip
    at = 1777000000
    assert events(source, body) == [
        ("lead", {"lead_id": "1246965", "created_at": at}),
        ("lead", {"lead_id": "1246965", "created_at": at}),
        ("@[2]", "no rule of this source is about it"),
        ("transition", {"lead_id": "1246965", "occurred_at": at, "stage": "marketingqualifiedlead"}),
        ("attribute", {"lead_id": "1246965", "known_at": at, "name": "employees", "value": 120}),
        ("attribute", {"lead_id": "1246965", "known_at": at, "name": "industry", "value": None}),
        ("merge", {"lead_id": "1", "merged_into": "9", "known_at": at}),
        ("merge", {"lead_id": "2", "merged_into": "9", "known_at": at}),
        ("consent", {"lead_id": "1246965", "known_at": at, "consent": False}),
        ("@[8]", "attribute: 'many' is not a number"),
        ("@[9]", "an object is expected here"),
    ]


ODOO = {
    "_model": "crm.lead", "_id": 42, "_action": "Tell leadloop(#311)", "id": 42, "name": "Pumps for Ada",
    "create_date": "2026-01-05 09:00:00", "write_date": "2026-01-06 10:00:01", "stage_id": 2,
    "date_last_stage_update": "2026-01-06 10:00:00", "partner_id": False, "email_from": "ada@example.com",
    "expected_revenue": 1200.5, "country_id": 57, "priority": "1", "active": True, "user_id": 7,
}  # fmt: skip


def test_odoos_record_becomes_a_lead_as_of_its_writing_and_an_entry_into_its_stage(tmp_path):
    source = mapper(tmp_path, "odoo", '[incoming.crm.words.stage]\n"2" = "mql"\n')
    lead, transition = events(source, ODOO)
    assert lead[1] == {
        "lead_id": "42",
        "created_at": 1767603600,
        "known_at": 1767693601,
        "attributes": {
            "name": "Pumps for Ada", "email_from": "ada@example.com", "country": "57", "owner": "7",
            "priority": "1", "expected_revenue": 1200.5,
            "team": None, "type": None,
        },
    }  # fmt: skip
    assert transition == ("transition", {"lead_id": "42", "occurred_at": 1767693600, "stage": "mql"})
    assert events(source, ODOO | {"_model": "res.partner"}) == [
        ("@[0]", "no rule of this source is about it")
    ]


def test_zero_is_a_number_and_false_is_nothing(tmp_path):
    source = mapper(tmp_path, "odoo", '[incoming.crm.words.stage]\n"2" = "mql"\n')
    (_, lead), _ = events(source, ODOO | {"expected_revenue": 0.0, "priority": "0", "name": False})
    values = {name: value for name, value in lead["attributes"].items() if value is not None}
    assert values == {
        "expected_revenue": 0, "priority": "0", "email_from": "ada@example.com", "country": "57",
        "owner": "7",
    }  # fmt: skip


def test_what_one_rule_cannot_map_is_refused_with_its_path_and_the_rest_is_kept(tmp_path):
    source = mapper(tmp_path, "odoo", '[incoming.crm.words.stage]\n"1" = "new"\n')
    lead, refused = events(source, ODOO)
    assert lead[0] == "lead"
    assert refused == ("@[0]", "transition: [words.stage] has no word for '2'")
    wrong = events(source, ODOO | {"stage_id": 1, "create_date": "yesterday"})
    assert wrong[0] == ("@[0]", "lead: 'yesterday' is not a time")


SALESFORCE = b"""<?xml version="1.0" encoding="UTF-8"?>
<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"
 xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
 <soapenv:Body><notifications xmlns="http://soap.sforce.com/2005/09/outbound">
  <OrganizationId>00D000000000001</OrganizationId><ActionId>04k000000000001</ActionId>
  <SessionId xsi:nil="true"/><EnterpriseUrl>https://e.example</EnterpriseUrl>
  <PartnerUrl>https://p.example</PartnerUrl>
  <Notification><Id>04l000000000001</Id>
   <sObject xsi:type="sf:Lead" xmlns:sf="urn:sobject.enterprise.soap.sforce.com">
    <sf:Id>00Q000000000001</sf:Id><sf:Company>M&amp;Co</sf:Company><sf:Status>Working</sf:Status>
    <sf:CreatedDate>2026-01-05T09:00:00.000Z</sf:CreatedDate>
    <sf:LastModifiedDate>2026-01-06T10:00:00.000Z</sf:LastModifiedDate>
    <sf:NumberOfEmployees>120</sf:NumberOfEmployees></sObject></Notification>
  <Notification><Id>04l000000000002</Id>
   <sObject xsi:type="sf:Opportunity" xmlns:sf="urn:sobject.enterprise.soap.sforce.com">
    <sf:Id>006000000000001</sf:Id></sObject></Notification>
 </notifications></soapenv:Body></soapenv:Envelope>"""


def test_salesforces_outbound_message_becomes_leads_and_its_status_message_transitions(tmp_path):
    lead, other = events(mapper(tmp_path, "salesforce"), SALESFORCE)
    assert lead[0] == "lead"
    assert (lead[1]["lead_id"], lead[1]["created_at"], lead[1]["known_at"]) == (
        "00Q000000000001", 1767603600, 1767693600,
    )  # fmt: skip
    values = {name: value for name, value in lead[1]["attributes"].items() if value is not None}
    assert values == {"Company": "M&Co", "NumberOfEmployees": 120}
    assert other == ("notifications.Notification[1]", "no rule of this source is about it")
    extra = '[incoming.crm.words.stage]\nWorking = "sal"\n'
    transition, _ = events(mapper(tmp_path, "salesforce_status", extra), SALESFORCE)
    assert transition == (
        "transition", {"lead_id": "00Q000000000001", "occurred_at": 1767693600, "stage": "sal"},
    )  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [
        b'<!DOCTYPE x [<!ENTITY a "aaaa">]><E><Body><n>&a;</n></Body></E>',
        b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><E><Body/></E>',
        '<!DOCTYPE x [<!ENTITY a "b">]><E><Body>&a;</Body></E>'.encode("utf-16"),
        b"<E><Body>",
        b"<E/>",
        b"\xff\xfe",
        b"{}",
        b"",
    ],
)
def test_a_body_that_is_no_soap_or_brings_a_document_type_is_refused(tmp_path, body):
    with pytest.raises(MappingError, match="not a SOAP envelope"):
        mapper(tmp_path, "salesforce").parse(body)


@pytest.mark.parametrize("body", [b"", b"[", b"[" * 200_000, b"\xff", b"nul"])
def test_a_body_that_is_no_json_is_refused(tmp_path, body):
    with pytest.raises(MappingError, match="not JSON"):
        mapper(tmp_path, "hubspot").parse(body)


def test_a_message_without_items_or_with_too_many_is_refused_as_a_whole(tmp_path):
    source = mapper(tmp_path, "generic")
    with pytest.raises(MappingError, match="nothing at 'events'"):
        source.events({"event": []})
    with pytest.raises(MappingError, match="at most 1,000 events"):
        source.events({"events": [{"type": "lead", "lead_id": str(n)} for n in range(1_001)]})


def test_the_same_content_has_the_same_id_and_another_content_another(tmp_path):
    source = mapper(tmp_path, "odoo", '[incoming.crm.words.stage]\n"2" = "mql"\n')

    def ids(body):
        return [each.event["id"] for each in source.events(body)]

    first = ids(ODOO)
    assert all(each.startswith("crm-") for each in first)
    assert ids(dict(reversed(ODOO.items()))) == first
    moved = ids(ODOO | {"write_date": "2026-01-07 10:00:00"})
    assert moved[0] != first[0]
    assert moved[1] == first[1]


def test_a_mapping_of_ones_own_reads_any_json(tmp_path):
    path = tmp_path / "webhooks.toml"
    path.write_text(
        "[incoming.shop]\nitems = \"orders[?state == 'paid']\"\n"
        '[[incoming.shop.events]]\ntype = "touchpoint"\n'
        '[incoming.shop.events.fields]\nid = "number"\nlead_id = "customer.id"\n'
        'occurred_at = "milliseconds(at)"\nkind = "\'purchase\'"\namount = "number(total)"\n'
    )
    source = parse_webhooks(path, {}).incoming["shop"].mapper
    order = {"number": "o-1", "customer": {"id": "7"}, "at": 1777000000999, "total": "12.50", "state": "paid"}
    assert isinstance(source, Mapper)
    (mapped,) = source.events({"orders": [order, order | {"state": "open"}]})
    assert mapped == MappedEvent(
        "orders[?state == 'paid'][0]",
        {"type": "touchpoint", "id": "shop-o-1", "lead_id": "7", "occurred_at": 1777000000,
         "kind": "purchase", "amount": 12.5},
    )  # fmt: skip
    (refused,) = source.events({"orders": [order | {"at": {"day": 1}}]})
    assert isinstance(refused, UnmappedItem)
    assert refused.reason.startswith("touchpoint: ")


def test_soap_with_cdata_is_read():
    assert parse_soap(b"<E><Body><n><a><![CDATA[<b>]]></a></n></Body></E>") == {"n": {"a": "<b>"}}
