"""Whom an identity provider limits to some models of a service."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

from console_browser import Browser
from oidc_provider import CLIENT, SECRET, come_back, leave, run_provider
from service_client import start_client


def test_whom_a_claim_limits_to_models_sees_these_and_no_other(by_hand, tmp_path):
    # A group whose name holds that of a model is no leave to see it.
    groups = {"success": 200, "my default": 403, "elsewhere": 403, None: 403}
    with run_provider() as provider, ExitStack() as stack:
        renewal = replace(by_hand, version="renewal00000")
        models = {"any": by_hand, "/models/renewal": renewal}
        settings = {
            "LEADLOOP_OIDC_ISSUER": provider.url,
            "LEADLOOP_OIDC_CLIENT_ID": CLIENT,
            "LEADLOOP_OIDC_CLIENT_SECRET": SECRET,
            "LEADLOOP_OIDC_MODELS_CLAIM": "groups",
            "LEADLOOP_OIDC_MODELS": "renewal=success",
            "LEADLOOP_MODELS": "renewal=/models/renewal",
        }
        browser = Browser(start_client(models, str(tmp_path / "decisions.db"), stack, **settings))
        for group, status in groups.items():
            browser.client.cookies.clear()
            provider.person = {"sub": "u1", "roles": ["admin"], "groups": [group, "my default"]}
            if group is None:
                del provider.person["groups"]
            answer = come_back(browser, leave(browser))
            assert answer.status_code == status
            if status != 200:
                assert "no model of this service" in answer.text
                continue
            page = browser.get("/console/model").text
            assert renewal.version in page
            assert by_hand.version not in page
            assert browser.get("/console/model?model=default").status_code == 404
