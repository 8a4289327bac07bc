"""Messages to other systems: how they are signed, sent without following redirects, and when they are tried again."""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

SIGNATURE_HEADER = "Ridgeline-Signature"
TIMEOUT_S = 5.0
FIRST_PAUSE_S = 15
LONGEST_PAUSE_S = 6 * 3600


def sign(secret: str, timestamp: int, body: bytes) -> str:
    """`t=<seconds>,v1=<hex>`: HMAC-SHA256 over "<seconds>.<body>", so that a message can neither change nor be kept for
    later without the receiver noticing."""
    digest = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={digest}"


class _NoRedirects(HTTPRedirectHandler):
    """A signed message goes to the address that was registered and to no other."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """Refuse."""
        return None


def post(url: str, body: bytes, headers: Mapping[str, str]) -> str:
    """Send one message; returns "" when the receiver took it (2xx), else what went wrong."""
    request = Request(url, data=body, headers=dict(headers), method="POST")
    try:
        with build_opener(_NoRedirects).open(request, timeout=TIMEOUT_S) as answer:
            return "" if 200 <= answer.status < 300 else f"answered {answer.status}"
    except HTTPError as error:
        return f"answered {error.code}"
    except (URLError, OSError, ValueError) as error:
        return str(getattr(error, "reason", error))[:500]


def pause_after(attempts: int) -> timedelta:
    """How long to wait after so many failed attempts: 15 s, doubling, at most six hours."""
    return timedelta(seconds=min(FIRST_PAUSE_S * 2 ** (attempts - 1), LONGEST_PAUSE_S))
