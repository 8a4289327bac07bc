"""One batch as the service takes it: the envelope, checked records by section, rejections, and what was unknown."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import msgspec

from telemetry.protocol import wire
from telemetry.protocol.decoded import Section
from telemetry.protocol.decoding import decode
from telemetry.protocol.errors import BadBody, Rejection, TooLarge
from telemetry.protocol.inferences import Inferences, check_inferences
from telemetry.protocol.otlp_samples import OTLP_SECTION, metrics_as_sent
from telemetry.protocol.signals import check_events, check_states
from telemetry.protocol.windows import CheckedWindow, check_windows


@dataclass(slots=True)
class Batch:
    """A body that was read.

    `sample` says that the inferences are detail of what `windows` already count, so roll-ups leave them out.
    """

    envelope: wire.Envelope
    inferences: Inferences
    windows: list[CheckedWindow]
    events: Section
    states: Section
    counters: wire.Counters | None
    rejections: list[Rejection]
    unknown_fields: int

    @property
    def sample(self) -> bool:
        """Whether roll-ups are fed by the windows alone."""
        return self.envelope.inferences_role == "sample"


def read_batch(body: bytes, max_records: int) -> Batch:
    """Read a decompressed body.

    Args:
        body: JSON text.
        max_records: how many records a section may have.

    Raises:
        BadBody: nothing of it can be used.
        TooLarge: a section has too many records.
    """
    decoded = decode(body)
    sent = Counter(rejection.section for rejection in decoded.rejections)
    inferences = decoded.inferences
    n_inferences = len(inferences.records) if isinstance(inferences, Section) else len(inferences.time)
    for name, n in (
        ("inferences", n_inferences),
        ("windows", len(decoded.windows.records)),
        ("events", len(decoded.events.records)),
        ("states", len(decoded.states.records)),
    ):
        if n + sent[name] > max_records:
            raise TooLarge(name)
    _refuse_anonymous(decoded.envelope, n_inferences or decoded.windows.records)
    checked, bad_inferences = check_inferences(inferences)
    windows, bad_windows = check_windows(decoded.windows)
    events, bad_events = check_events(decoded.events)
    states, bad_states = check_states(decoded.states)
    return Batch(
        decoded.envelope,
        checked,
        windows,
        events,
        states,
        decoded.counters,
        decoded.rejections + bad_inferences + bad_windows + bad_events + bad_states,
        decoded.unknown_fields,
    )


def _refuse_anonymous(envelope: wire.Envelope, has_measurements: object) -> None:
    """Measurements without a workload and a release belong nowhere.

    Raises:
        BadBody: the context does not name them.
    """
    if not has_measurements:
        return
    for name in ("workload", "release"):
        if envelope.context is None or not getattr(envelope.context, name):
            raise BadBody("missing", f"The envelope lacks `context.{name}`.", f"context.{name}")


def records_as_sent(body: bytes, rejections: list[Rejection]) -> list[object]:
    """The rejected records as the device sent them, for the quarantine; None where there is none to show."""
    try:
        parts = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError):
        # protobuf, of an OTLP client
        parts = {}
    sections: dict[str, object] = {}
    records = []
    metrics = metrics_as_sent(body) if any(rejection.section == OTLP_SECTION for rejection in rejections) else {}
    for rejection in rejections:
        name = rejection.section
        if name == OTLP_SECTION:
            # what is wrong with an attribute is not said of one metric; the first shows it as well as any
            records.append(metrics.get(rejection.field) or next(iter(metrics.values()), None))
            continue
        if name not in sections:
            sections[name] = _raw_section(parts.get(name))
        records.append(_record(sections[name], rejection))
    return records


def _raw_section(raw: msgspec.Raw | None) -> object:
    if raw is None:
        return None
    if bytes(raw).lstrip().startswith(b"["):
        return msgspec.json.decode(raw, type=list[msgspec.Raw])
    try:
        return msgspec.json.decode(raw, type=dict[str, list[msgspec.Raw]])
    except msgspec.ValidationError:
        return raw


def _record(section: object, rejection: Rejection) -> object:
    if isinstance(section, list):
        return _readable(section[rejection.index])
    if isinstance(section, dict):
        return {name: _readable(column[rejection.index]) for name, column in section.items()}
    return None if section is None else _readable(section)


def _readable(raw: msgspec.Raw) -> object:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # a number beyond double precision, say
        return bytes(raw[:4096] if isinstance(raw, bytes) else bytes(raw)[:4096]).decode(errors="replace")
