"""Keys that may ask some of a service's models, in a service of their own."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

import pytest
from service_client import start_client

from serving.middleware.api_keys import KeysError, create_key, load_keys

LEAD = {"lead_id": "ada", "account": {}, "attributes": {"industry": "machinery"}}
RENEWAL = "/models/renewal"


def score(client, query, token):
    headers = {"authorization": f"Bearer {token}"}
    return client.post(f"/v1/score{query}", json={"leads": [LEAD]}, headers=headers)


def test_a_key_may_be_limited_to_some_models(by_hand, tmp_path):
    file = tmp_path / "keys.json"
    tokens = {
        name: create_key(file, name, ["score", "admin"], models=models)
        for name, models in (("all", ()), ("one", ("renewal",)), ("first", ("default",)))
    }
    assert "models renewal" in load_keys(file)[1].in_words()
    with pytest.raises(KeysError):
        create_key(file, "bad", ["score"], models=["re new"])
    with ExitStack() as stack:
        client = start_client(
            {"any": by_hand, RENEWAL: replace(by_hand, version="renewal00000")},
            str(tmp_path / "log.db"),
            stack,
            LEADLOOP_KEYS=str(file),
            LEADLOOP_MODELS=f"renewal={RENEWAL}",
        )
        allowed = {
            name: [score(client, query, token).status_code for query in ("", "?model=renewal")]
            for name, token in tokens.items()
        }
        refused = score(client, "", tokens["one"]).json()
        # A lead is erased by whoever may, whichever models its key may ask.
        erased = client.request(
            "DELETE", "/v1/leads/ada", headers={"authorization": f"Bearer {tokens['one']}"}
        )
    assert allowed == {"all": [200, 200], "one": [403, 200], "first": [200, 403]}
    assert (refused["code"], refused["field"]) == ("model_forbidden", "model")
    assert "?model=renewal" in refused["detail"]
    assert erased.status_code == 200
