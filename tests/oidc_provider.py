"""A small OpenID Connect provider on this machine, which signs in whoever asks as the person it is told."""

from __future__ import annotations

import json
import threading
import time
from base64 import b64decode, urlsafe_b64encode
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

CLIENT, SECRET = "leadloop", "a secret of two"  # of the tests' own provider


@dataclass
class Provider:
    """What the provider knows, and what it is to lie about."""

    url: str = ""
    person: dict = field(default_factory=lambda: {"sub": "u1", "name": "Ada", "roles": ["sales"]})
    claims: dict = field(default_factory=dict)
    header: dict = field(default_factory=dict)
    key: ECKey = field(default_factory=lambda: ECKey.generate_key("P-256", {"kid": "1", "alg": "ES256"}))
    published: ECKey | None = None
    issuer: str = ""
    codes: dict = field(default_factory=dict)
    requests: list = field(default_factory=list)

    def description(self):
        places = {name: f"{self.url}/{path}" for name, path in PLACES.items()}
        algorithms = {"id_token_signing_alg_values_supported": ["ES256", "HS256", "none"]}
        return {"issuer": self.issuer or self.url, **places, **algorithms}

    def keys(self):
        return KeySet([self.published or self.key]).as_dict(private=False)

    def authorize(self, query):
        """The address that the browser is sent back to."""
        code = f"code{len(self.codes)}"
        self.codes[code] = query
        return (
            f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state'], 'iss': self.url})}"
        )

    def token(self, form, authorization):
        """Status and answer of the token endpoint."""
        query = self.codes.pop(form.get("code"), None)
        challenge = (
            urlsafe_b64encode(sha256(form.get("code_verifier", "").encode()).digest()).decode().rstrip("=")
        )
        known = b64decode(authorization.removeprefix("Basic ")).decode() == f"{CLIENT}:{SECRET}"
        if (
            query is None
            or not known
            or challenge != query["code_challenge"]
            or form["redirect_uri"] != query["redirect_uri"]
        ):
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        claims = {"iss": self.url, "aud": CLIENT, "iat": now, "exp": now + 60, "nonce": query["nonce"]}
        claims |= self.person | self.claims
        header = {"alg": "ES256", "kid": self.key.kid} | self.header
        token = jwt.encode(
            header, {name: value for name, value in claims.items() if value is not None}, self.key
        )
        return 200, {"access_token": "x", "token_type": "Bearer", "id_token": token}


PLACES = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}


@contextmanager
def run_provider():
    """The provider, while the context lasts."""
    provider = Provider()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            place = urlsplit(self.path)
            provider.requests.append(place.path)
            query = {name: values[0] for name, values in parse_qs(place.query).items()}
            if place.path == "/authorize":
                self.send_response(302)
                self.send_header("location", provider.authorize(query))
                self.send_header("content-length", "0")
                self.end_headers()
                return
            answers = {"/.well-known/openid-configuration": provider.description, "/keys": provider.keys}
            self.answer(200, answers[place.path]())

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            self.answer(*provider.token(form, self.headers.get("authorization", "")))

        def answer(self, status, content):
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def leave(browser, target="/console/model"):
    """Begins to sign in; where the provider sends the browser back to."""
    away = browser.get("/console/oidc/start", params={"next": target})
    assert away.status_code == 303
    return httpx.get(away.headers["location"], trust_env=False).headers["location"]


def come_back(browser, address):
    # A redirect from another site: cookies that are strict stay at home.
    return browser.get(address.removeprefix("http://127.0.0.1"), headers={"sec-fetch-site": "cross-site"})
