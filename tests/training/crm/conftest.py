"""Stand-ins for the CRMs: each holds callers to what its vendor documents, written without our formats."""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import polars as pl
import pytest

from training.crm.http_client import UnreachableError
from training.crm.protocol import Response

TOKEN = "s3cret-token"  # noqa: S105  # nobody's


@dataclass
class StandIn:
    """A CRM: what it was told, whom it refuses and why, and what goes wrong with the next requests.

    A fault is None, a ready (status, headers, body), "lost" (never read), "unheard" (done, but the answer is
    lost), "slow", an exception that ends the caller after the work is done, or over HTTP something to call.
    """

    token = TOKEN
    refuses: dict[str, str] = field(default_factory=dict)
    busy: Counter = field(default_factory=Counter)
    faults: deque = field(default_factory=deque)
    leads: dict[str, dict] = field(default_factory=dict)
    batches: list[list[str]] = field(default_factory=list)
    requests: list[tuple] = field(default_factory=list)

    def answer(self, method, path, headers, body):
        self.requests.append((method, path, headers, body))
        assert headers["authorization"] == f"Bearer {TOKEN}"
        return self.handle(method, path, headers, body)

    def wrong_with(self, lead_id):
        if self.busy[lead_id] > 0:
            self.busy[lead_id] -= 1
            return "busy"
        return self.refuses.get(lead_id)

    def send(self, request):
        """The stand-in in process, in place of the line."""
        fault = self.faults.popleft() if self.faults else None
        if isinstance(fault, tuple):
            return Response(fault[0], fault[1], fault[2])
        if fault == "lost":
            raise UnreachableError(fault)
        headers = {name.lower(): value for name, value in request.headers.items()}
        headers["authorization"] = f"Bearer {TOKEN}"
        path = request.url.removeprefix("https://crm.example")
        status, answer_headers, body = self.answer(request.method, path, headers, request.body)
        if fault == "unheard":
            raise UnreachableError(fault)
        if isinstance(fault, BaseException):
            raise fault
        return Response(status, {name.lower(): value for name, value in answer_headers.items()}, body)


JSON = {"Content-Type": "application/json;charset=utf-8"}


class HubSpot(StandIn):
    """Batch update of contacts: 100 inputs, text values, 207 with trace ids for a partial failure."""

    name = "hubspot"
    properties = frozenset({"leadloop_probability", "leadloop_points", "leadloop_grade", "why"})
    key = None

    def handle(self, method, path, headers, body):
        assert (method, path) == ("POST", "/crm/objects/2026-03/contacts/batch/update")
        assert headers["content-type"] == "application/json"
        inputs = json.loads(body)["inputs"]
        assert 1 <= len(inputs) <= 100
        assert len({entry["objectWriteTraceId"] for entry in inputs}) == len(inputs)
        self.batches.append([entry["id"] for entry in inputs])
        if unknown := {name for entry in inputs for name in entry["properties"]} - self.properties:
            payload = {
                "status": "error",
                "category": "VALIDATION_ERROR",
                "message": f"no property {min(unknown)}",
            }
            return 400, JSON, json.dumps(payload).encode()
        results, errors = [], []
        for entry in inputs:
            assert entry.get("idProperty") == self.key
            assert all(isinstance(value, str) for value in entry["properties"].values())
            if wrong := self.wrong_with(entry["id"]):
                context = {"objectWriteTraceId": [entry["objectWriteTraceId"]]}
                errors.append({"status": "error", "category": "BAD", "message": wrong, "context": context})
            else:
                self.leads[entry["id"]] = entry["properties"]
                results.append({"id": "7", "objectWriteTraceId": entry["objectWriteTraceId"]})
        payload = {"status": "COMPLETE", "results": results[::-1], "errors": errors, "numErrors": len(errors)}
        return (207 if errors else 200), JSON, json.dumps(payload).encode()


class Salesforce(StandIn):
    """sObject collections: 200 records, results in order, allOrNone false, 400 for an unknown field."""

    name = "salesforce"
    known = frozenset(
        {
            "attributes",
            "id",
            "Key__c",
            "Leadloop_Probability__c",
            "Leadloop_Points__c",
            "Leadloop_Grade__c",
            "Why__c",
        }
    )

    def handle(self, method, path, headers, body):
        upsert = path.endswith("/Lead/Key__c")
        assert method == "PATCH"
        assert re.fullmatch(r"/services/data/v\d+\.0/composite/sobjects(/Lead/Key__c)?", path)
        assert headers["content-type"] == "application/json"
        payload = json.loads(body)
        assert payload["allOrNone"] is False
        assert 1 <= len(payload["records"]) <= 200
        self.batches.append([record["Key__c" if upsert else "id"] for record in payload["records"]])
        if unknown := {name for record in payload["records"] for name in record} - self.known:
            error = [{"message": f"No such column '{min(unknown)}'", "errorCode": "INVALID_FIELD"}]
            return 400, JSON, json.dumps(error).encode()
        return 200, JSON, json.dumps([self.result(record, upsert) for record in payload["records"]]).encode()

    def result(self, record, upsert):
        lead_id = record.pop("Key__c" if upsert else "id")
        assert record.pop("attributes") == {"type": "Lead"}
        assert upsert or "Key__c" not in record
        if wrong := self.wrong_with(lead_id):
            code = "UNABLE_TO_LOCK_ROW" if wrong == "busy" else "FIELD_CUSTOM_VALIDATION_EXCEPTION"
            return {"success": False, "errors": [{"statusCode": code, "message": wrong, "fields": []}]}
        self.leads[lead_id] = record
        return {"id": "00Q", "success": True, "errors": []}


class Dynamics(StandIn):
    """$batch: at most 1,000 parts in CRLF, answered in order, going on after an error only if asked to."""

    name = "dynamics"
    part = re.compile(
        rb"Content-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n"
        rb"PATCH \S+?/api/data/v9\.2/msdyn_predictivescores\(([^()/'\"<>?#\s]*)\) HTTP/1\.1\r\n"
        rb"Content-Type: application/json\r\nContent-Length: (\d+)\r\n\r\n([^\r\n]*)\r\n"
    )
    key = re.compile(r"msdyn_entityid='((?:[^']|'')*)',msdyn_entitytype='lead'", re.DOTALL)

    def handle(self, method, path, headers, body):
        assert (method, path) == ("POST", "/api/data/v9.2/$batch")
        boundary = re.fullmatch(r'multipart/mixed; boundary="(batch_[\w-]+)"', headers["content-type"])[1]
        assert headers["odata-version"] == "4.0"
        assert headers["prefer"] == "odata.continue-on-error"
        empty, *parts, end = body.split(f"--{boundary}".encode())
        assert (empty, end) == (b"", b"--\r\n")
        assert 1 <= len(parts) <= 1000
        patches = [self.patch(part) for part in parts]
        self.batches.append([lead_id for lead_id, _ in patches])
        answered = "".join(f"--one\r\n{self.answer_one(*each)}\r\n" for each in patches)
        return 200, {"Content-Type": "multipart/mixed; boundary=one"}, f"{answered}--one--\r\n".encode()

    def patch(self, part):
        key, length, content = self.part.fullmatch(part.removeprefix(b"\r\n")).groups()
        assert int(length) == len(content)
        lead_id = self.key.fullmatch(unquote(key.decode()))[1].replace("''", "'")
        return lead_id, json.loads(content)

    def answer_one(self, lead_id, fields):
        head = "Content-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n"
        if wrong := self.wrong_with(lead_id):
            error = json.dumps({"error": {"code": "0x80044331", "message": wrong}})
            status = "429 Too Many Requests\r\nRetry-After: 3" if wrong == "busy" else "400 Bad Request"
            return f"{head}HTTP/1.1 {status}\r\nContent-Type: application/json\r\n\r\n{error}"
        assert type(fields["msdyn_score"]) is int
        assert 0 <= fields["msdyn_score"] <= 100
        assert fields["msdyn_scoretrend"] in range(4)
        assert fields["msdyn_grade"] in range(4)
        self.leads[lead_id] = fields
        return f"{head}HTTP/1.1 204 No Content\r\nOData-Version: 4.0\r\n\r\n"


STAND_INS = {crm.name: crm for crm in (Dynamics, HubSpot, Salesforce)}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        crm = self.server.crm
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        fault = crm.faults.popleft() if crm.faults else None
        if callable(fault):
            fault()
        time.sleep(1.5 * (fault == "slow"))
        if fault == "slow" or fault == "lost":  # noqa: PLR1714  # a fault may be no hashable thing
            self.close_connection = True
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            reply = fault if isinstance(fault, tuple) else crm.answer(self.command, self.path, headers, body)
        except Exception as error:  # noqa: BLE001  # whatever is wrong with a request fails the test
            self.server.complaints.append(repr(error))
            reply = 418, {}, b"{}"
        self.tell(*reply, half=fault == "unheard")

    do_GET = do_POST = do_PATCH = answer  # noqa: N815  # as the library calls them

    def tell(self, status, headers, body, *, half):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if half else body)
        self.close_connection = half

    def log_message(self, *_): ...


@pytest.fixture
def over_http():
    """Serves a stand-in at an address of this machine; what it complained about fails the test."""
    servers = []

    def serve(crm):
        server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        server.crm, server.complaints = crm, []
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()
        assert server.complaints == []


@pytest.fixture(params=STAND_INS)
def name(request):
    """Each CRM in turn."""
    return request.param


@pytest.fixture
def crm(name):
    """A stand-in of the CRM whose turn it is."""
    return STAND_INS[name]()


@pytest.fixture(scope="session")
def stand_ins():
    """All of them, by name."""
    return STAND_INS


def _rows(ids):
    """One score a lead."""
    count = len(ids)
    probability = [(7 * i % 101) / 100 for i in range(count)]
    return pl.DataFrame(
        {
            "lead_id": ids,
            "as_of": [1_777_000_000] * count,
            "probability": probability,
            "points": [200 + i for i in range(count)],
            "grade": ["ABCD"[i % 4] for i in range(count)],
            "reason_1": [f"+{i} because" for i in range(count)],
        },
        schema_overrides={"lead_id": pl.String},
    )


@pytest.fixture(scope="session")
def rows():
    """Makes scores."""
    return _rows


@pytest.fixture
def scores(tmp_path):
    """Writes a file of scores for the leads with these ids."""

    def write(ids, file="scores.csv"):
        path = tmp_path / file
        frame = _rows(list(ids))
        frame.write_parquet(path) if path.suffix == ".parquet" else frame.write_csv(path)
        return path

    return write
