"""Who sends a batch, as the ingest path asks it: in one prepared query, for one token or for many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from fleet.models import Token
from fleet.services import tokens
from telemetry import store
from telemetry.store import SenderRow

_MAX_SEEN = 50_000

_seen: dict[str, SenderRow] = {}


@dataclass(frozen=True, slots=True)
class KnownSender:
    """An accepted device whose token was found good."""

    pk: int
    serial: str
    is_gateway: bool


@dataclass(frozen=True, slots=True)
class SeenToken:
    """A token that was good when it was last looked at; whether it still is, `still_good` tells."""

    key_id: str
    row: SenderRow


def known_sender(raw_token: str, now: datetime) -> KnownSender | None:
    """The sender that a token proves; None where a closer look is needed.

    That is for `fleet.services.tokens.check`, which also says why a token is not good and notes when it was used. What
    passes here would pass there: a revocation is effective at once.
    """
    parts = tokens.parse(raw_token, tokens.TOKEN_PREFIX)
    if parts is None:
        return None
    key_id, secret = parts
    row = _live([key_id], now).get(key_id)
    if row is None or not tokens.secret_matches(key_id, secret, row.secret_hmac, row.pepper_version):
        return None
    if len(_seen) >= _MAX_SEEN:
        _seen.clear()
    _seen[key_id] = row
    return KnownSender(row.device_id, row.serial, is_gateway=row.kind == Token.Kind.GATEWAY)


def seen_token(raw_token: str) -> SeenToken | None:
    """The token, if this process has found it good before; then it may wait with others to be looked at again."""
    parts = tokens.parse(raw_token, tokens.TOKEN_PREFIX)
    row = _seen.get(parts[0]) if parts else None
    if row is None or not tokens.secret_matches(*parts, row.secret_hmac, row.pepper_version):
        return None
    return SeenToken(parts[0], row)


def still_good(seen: Sequence[SeenToken], now: datetime) -> list[bool]:
    """Whether each token is good at this moment and belongs to the same device as before."""
    live = _live([token.key_id for token in seen], now)
    return [live.get(token.key_id) == token.row for token in seen]


def forget() -> None:
    """Forget what was seen."""
    _seen.clear()


def _live(key_ids: Sequence[str], now: datetime) -> dict[str, SenderRow]:
    return store.find_senders(key_ids, now, noted_since=now - tokens.LAST_USED_RESOLUTION)
