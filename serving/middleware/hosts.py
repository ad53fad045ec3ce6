"""Host and origin of a request: which names the service answers to, and whether another site's page asks.

A service without keys trusts the machine that it runs on, and so every page in a browser there. Such a page
may send requests from its own origin (cross-site), or let its name lead to 127.0.0.1 (DNS rebinding): then
the browser takes the service for the page's own, and only the Host header tells.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Collection
    from ipaddress import IPv4Address, IPv6Address

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]{2,60}\]|[A-Za-z0-9._-]{1,254})(:[0-9]{1,5})?")


def host_name(host: str) -> str:
    """The name or address in a Host header, in lower case and without port; "" where it holds none.

    >>> [host_name(text) for text in ("LOCALHOST:3000", "[::1]:80", "leads.example.", "a b")]
    ['localhost', '::1', 'leads.example', '']
    """
    match = _HOST.fullmatch(host)
    return match[1].strip("[]").rstrip(".").lower() if match else ""


def is_loopback(name: str) -> bool:
    """Whether a name or an address is that of the machine itself.

    >>> [is_loopback(name) for name in ("localhost", "127.0.0.53", "::1", "localhost.evil")]
    [True, True, True, False]
    """
    address = parse_address(name)
    return name == "localhost" or (address is not None and address.is_loopback)


@lru_cache(maxsize=256)
def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """The IP address in a text, IPv4 where it is mapped into IPv6; None where there is none."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def is_cross_site(origin: str, fetch_site: str, host: str, allowed: Collection[str]) -> bool:
    """Whether a page of another origin sent the request, as its browser says; a program says nothing.

    Args:
        origin: The Origin header, or "".
        fetch_site: The Sec-Fetch-Site header, or "". Another port of the same host is another origin.
        host: The Host header.
        allowed: Further hosts whose pages are this service's own, where a proxy has changed the Host header.
    """
    if fetch_site and fetch_site not in {"same-origin", "none"}:
        return True
    if not origin:
        return False
    place = urlsplit(origin).netloc.lower()
    return not place or (place != host.lower() and host_name(place) not in allowed)
