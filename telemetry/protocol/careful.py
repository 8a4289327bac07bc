"""The second look at a body that is not wholly well-typed: what spoils it, which records are bad, what is unknown."""

from __future__ import annotations

import re
from types import UnionType
from typing import Any, get_args

import msgspec

from telemetry.protocol import wire
from telemetry.protocol.decoded import Decoded, Section
from telemetry.protocol.errors import BadBody, Rejection

# What msgspec raises on input of its choice; a deeply nested body exhausts the recursion limit.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_PARTS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_RAW_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_ANY = msgspec.json.Decoder()


def holds_nul(raw: bytes) -> bool:
    """Whether JSON text holds an escaped NUL character, which no text column of the database can store."""
    # the search for a single byte is far the fastest
    return b"\\" in raw and b"\\u0000" in raw and b"\\u0000" in raw.replace(b"\\\\", b"")


def decode_by_parts(body: bytes) -> Decoded:
    """Read a body that is not wholly well-typed; each part on its own."""
    try:
        parts = _PARTS.decode(body)
    except msgspec.ValidationError:
        raise BadBody("syntax", "The body must be a JSON object.") from None
    except RecursionError:
        raise BadBody("syntax", "The body is nested too deeply.") from None
    except UNREADABLE as error:
        raise BadBody("syntax", f"The body cannot be read: {error}.") from None
    rejections: list[Rejection] = []
    known = wire.Envelope.__struct_fields__
    reading = _Reading(rejections, unknown_fields=sum(name not in known for name in parts))
    envelope = wire.Envelope(
        schema=_required(parts, "schema"),
        boot_id=_required(parts, "boot_id"),
        batch_seq=_required(parts, "batch_seq"),
        device=_whole(parts, "device"),
        inferences_role=_whole(parts, "inferences_role"),
        sent_at=reading.scalar(parts, "sent_at"),
        uptime_ms=reading.scalar(parts, "uptime_ms"),
        clock=reading.members(parts, "clock", wire.Clock),
        context=reading.members(parts, "context", wire.ContextLabels, spoiling=("workload", "release")),
        dropped=reading.members(parts, "dropped", wire.Dropped),
    )
    return Decoded(
        envelope,
        reading.inferences(parts),
        reading.records(parts, "windows", wire.Window),
        reading.records(parts, "events", wire.Event),
        reading.records(parts, "states", wire.State),
        reading.counters(parts),
        rejections,
        reading.unknown_fields,
    )


def _required(parts: dict[str, msgspec.Raw], name: str) -> Any:
    if name not in parts:
        raise BadBody("missing", f"The envelope lacks `{name}`.", name)
    return _whole(parts, name)


def _whole(parts: dict[str, msgspec.Raw], name: str) -> Any:
    """A field without which the batch cannot be understood: when it is bad, so is the body."""
    if name not in parts:
        return None
    try:
        return _checked(parts[name], _FIELD_DECODERS[wire.Envelope][name])
    except _BadValue as bad:
        if name == "schema":
            raise BadBody("schema", f'The schema must be "{wire.SCHEMA}".', name) from None
        raise BadBody(bad.code, f"`{name}`: {bad.message}", name) from None


class _BadValue(Exception):
    """A value that its decoder refuses."""

    def __init__(self, field: str, code: str, message: str) -> None:
        super().__init__(message)
        self.field, self.code, self.message = field, code, message


def _checked(raw: msgspec.Raw, decoder: msgspec.json.Decoder) -> Any:
    if holds_nul(bytes(raw)):
        raise _BadValue("", "character", "Text must not hold the character U+0000.")
    try:
        return decoder.decode(raw)
    except UNREADABLE as error:
        raise _bad_value(error) from None


# "Expected `float`, got `str` - at `$.latency_ms.counts[3]`"
_PLACE = re.compile(r"^(?P<what>.*?)(?: - at `(?P<place>.*)`)?$", re.DOTALL)
_MISSING = re.compile(r"missing required field `(?P<name>[^`]+)`")


def _bad_value(error: Exception) -> _BadValue:
    """The field, the code and the sentence of what msgspec found."""
    match = _PLACE.match(str(error))
    what, place = match["what"], (match["place"] or "$").removeprefix("$").removeprefix(".")
    if missing := _MISSING.search(what):
        name = f"{place}.{missing['name']}".lstrip(".")
        return _BadValue(name, "missing", f"`{name}` is required.")
    if "Invalid enum value" in what:
        code = "enum"
    elif "of length" in what:
        code = "length"
    elif "Number out of range" in what or ">= " in what or "<= " in what:
        code = "range"
    elif isinstance(error, msgspec.ValidationError):
        code = "type"
    else:
        code = "character"
    return _BadValue(place, code, f"{what}.")


def _field_decoders(struct: type[msgspec.Struct]) -> dict[str, msgspec.json.Decoder]:
    return {f.encode_name: msgspec.json.Decoder(f.type) for f in msgspec.structs.fields(struct)}


def _nested(struct: type[msgspec.Struct]) -> dict[str, type[msgspec.Struct]]:
    """The members of a struct that are structs themselves, by name."""
    found = {}
    for member in msgspec.structs.fields(struct):
        options = get_args(member.type) if isinstance(member.type, UnionType) else (member.type,)
        for kind in filter(_is_struct, options):
            found[member.encode_name] = kind
    return found


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


_RECORDS = (wire.Inference, wire.Window, wire.Event, wire.State, wire.Counters)
_STRICT_DECODER = {kind: msgspec.json.Decoder(kind) for kind in _RECORDS}
_FIELD_DECODERS = {
    kind: _field_decoders(kind) for kind in (wire.Envelope, wire.Clock, wire.ContextLabels, wire.Dropped, *_RECORDS)
}
_NESTED = {kind: _nested(kind) for kind in _RECORDS}


class _Reading:
    """One careful pass over a body: collects rejections and counts unknown fields."""

    def __init__(self, rejections: list[Rejection], unknown_fields: int) -> None:
        self.rejections = rejections
        self.unknown_fields = unknown_fields

    def reject(self, section: str, index: int | None, bad: _BadValue) -> None:
        self.rejections.append(Rejection(section, index, bad.field, bad.code, bad.message))

    def scalar(self, parts: dict[str, msgspec.Raw], name: str) -> Any:
        """A field of the envelope that the batch can do without."""
        if name not in parts:
            return None
        try:
            return _checked(parts[name], _FIELD_DECODERS[wire.Envelope][name])
        except _BadValue as bad:
            self.reject(name, None, bad)
            return None

    def members(
        self, parts: dict[str, msgspec.Raw], name: str, kind: type[msgspec.Struct], spoiling: tuple[str, ...] = ()
    ) -> Any:
        """An object of the envelope, member by member; a bad one is left out, unless it is one of `spoiling`."""
        if name not in parts or bytes(parts[name]) == b"null":
            return None
        try:
            members = _PARTS.decode(parts[name])
        except UNREADABLE as error:
            bad = _bad_value(error)
            if spoiling:
                raise BadBody(bad.code, f"`{name}`: {bad.message}", name) from None
            self.reject(name, None, bad)
            return None
        values = {}
        for member, raw in members.items():
            decoder = _FIELD_DECODERS[kind].get(member)
            if decoder is None:
                self.unknown_fields += 1
                continue
            try:
                values[member] = _checked(raw, decoder)
            except _BadValue as bad:
                if member in spoiling:
                    raise BadBody(bad.code, f"`{name}.{member}`: {bad.message}", f"{name}.{member}") from None
                self.reject(name, None, _BadValue(member, bad.code, bad.message))
        return kind(**values)

    def records(self, parts: dict[str, msgspec.Raw], name: str, kind: type[msgspec.Struct]) -> Section:
        """A section that is a list, record by record."""
        if name not in parts or bytes(parts[name]) == b"null":
            return Section()
        try:
            raws = _RAW_LIST.decode(parts[name])
        except UNREADABLE:
            raise BadBody("type", f"`{name}` must be a list of objects.", name) from None
        return self._section(name, raws, kind)

    def _section(self, name: str, raws: list[msgspec.Raw], kind: type[msgspec.Struct]) -> Section:
        section = Section(index=[])
        for index, raw in enumerate(raws):
            try:
                section.records.append(self._record(raw, kind))
                section.index.append(index)
            except _BadValue as bad:
                self.reject(name, index, bad)
        return section

    def _record(self, raw: msgspec.Raw, kind: type[msgspec.Struct]) -> Any:
        """One record; unknown fields in it and in its own objects are counted and passed over."""
        if holds_nul(bytes(raw)):
            raise _BadValue("", "character", "Text must not hold the character U+0000.")
        try:
            return _STRICT_DECODER[kind].decode(raw)
        except UNREADABLE as error:
            if "unknown field" not in str(error):
                raise _bad_value(error) from None
        try:
            members = _ANY.decode(raw)
            unknown = _drop_unknown(members, kind)
            record = msgspec.convert(members, kind)
        except UNREADABLE as error:
            raise _bad_value(error) from None
        self.unknown_fields += unknown
        return record

    def inferences(self, parts: dict[str, msgspec.Raw]) -> Section:
        """Rows record by record; columns are turned into rows first.

        Raises:
            BadBody: the section is neither, a column is no list, or the columns differ in length.
        """
        raw = bytes(parts["inferences"]).lstrip() if "inferences" in parts else b"null"
        if not raw.startswith(b"{"):
            return self.records(parts, "inferences", wire.Inference)
        columns = {}
        for name, column in _PARTS.decode(raw).items():
            if bytes(column) == b"null":
                continue
            try:
                columns[name] = _RAW_LIST.decode(column)
            except UNREADABLE:
                raise BadBody("type", f"Column `{name}` must be a list.", f"inferences.{name}") from None
        refuse_unequal_columns({name: len(column) for name, column in columns.items()})
        keys = [msgspec.json.encode(name) for name in columns]
        rows = [
            msgspec.Raw(
                b"{%s}"
                % b",".join(
                    key + b":" + bytes(value) for key, value in zip(keys, row, strict=True) if bytes(value) != b"null"
                )
            )
            for row in zip(*columns.values(), strict=True)
        ]
        return self._section("inferences", rows, wire.Inference)

    def counters(self, parts: dict[str, msgspec.Raw]) -> wire.Counters | None:
        """The counters, value by value."""
        if "counters" not in parts or bytes(parts["counters"]) == b"null":
            return None
        try:
            return self._record(parts["counters"], wire.Counters)
        except _BadValue as bad:
            whole = bad
        try:
            members = _PARTS.decode(parts["counters"])
            time = _checked(members["time"], _FIELD_DECODERS[wire.Counters]["time"])
            values = _PARTS.decode(members["values"])
        except (KeyError, _BadValue, *UNREADABLE):
            self.reject("counters", None, whole)
            return None
        good = {}
        for index, (name, raw) in enumerate(values.items()):
            try:
                one = _STRICT_DECODER[wire.Counters].decode(
                    b'{"time":0,"values":{%s:%s}}' % (msgspec.json.encode(name), bytes(raw))
                )
                if "\0" in name:
                    raise _BadValue(name, "character", "Text must not hold the character U+0000.")
                good.update(one.values)
            except UNREADABLE as error:
                bad = _bad_value(error)
                self.reject("counters", index, _BadValue(name[:64], bad.code, bad.message))
            except _BadValue as bad:
                self.reject("counters", index, bad)
        return wire.Counters(time=time, values=good)


def refuse_unequal_columns(lengths: dict[str, int]) -> None:
    """Columns must agree in length, else nobody knows which values belong together.

    Raises:
        BadBody: they do not; the message shows the shortest and the longest.
    """
    if len(set(lengths.values())) > 1:
        ordered = sorted(lengths.items(), key=lambda item: item[1])
        shown = ", ".join(f"{name} {length}" for name, length in dict([*ordered[:3], *ordered[-3:]]).items())
        raise BadBody("unequal_columns", f"The columns of `inferences` differ in length: {shown}.", "inferences")


def _drop_unknown(members: dict[str, Any], kind: type[msgspec.Struct]) -> int:
    """Take the fields that the protocol does not know out of a record and the objects in it; how many they were."""
    unknown = [name for name in members if name not in kind.__struct_fields__]
    for name in unknown:
        del members[name]
    count = len(unknown)
    for name, nested in _NESTED[kind].items():
        if isinstance(members.get(name), dict):
            inner = members[name]
            extra = [key for key in inner if key not in nested.__struct_fields__]
            for key in extra:
                del inner[key]
            count += len(extra)
    return count
