"""A browser without a window for tests of the console: it keeps cookies and fills in forms."""

from __future__ import annotations

import re

from service_client import start_client

from serving.middleware.api_keys import create_key

HERE = "http://127.0.0.1"


class Browser:
    """A client that keeps cookies and fills in forms, as a browser does."""

    def __init__(self, client):
        self.client = client
        client.base_url = HERE
        client.follow_redirects = False

    def get(self, path, **more):
        return self.client.get(path, **more)

    def post(self, path, page="/console/login", **fields):
        token = form_token(self.client.get(page).text)
        return self.client.post(path, data={"form_token": token} | fields)

    def sign_in(self, key):
        return self.post("/console/login", key=key)


def form_token(page):
    return re.search(r'name="form_token" value="([0-9a-f]{64})"', page)[1]


def start_console(model, folder, stack, **environment):
    file = folder / "keys.json"
    create_key(file, "somebody", ["score"])
    client = start_client(model, str(folder / "decisions.db"), stack, LEADLOOP_KEYS=str(file), **environment)
    return Browser(client)
