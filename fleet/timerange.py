"""Time ranges as pages and the API write them in a query string: relative (`from=-24h`) or absolute (RFC 3339)."""

import re
import zoneinfo
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fleet.exceptions import InvalidInput

# What the picker offers; the text is the value of `from`.
PRESETS = (("-1h", "1h"), ("-6h", "6h"), ("-24h", "24h"), ("-7d", "7d"), ("-30d", "30d"))
DEFAULT = "-24h"
SHORTEST = timedelta(minutes=1)
LONGEST = timedelta(days=3 * 366)
# Of the server, of the browser, of the site where the device stands.
ZONES = ("utc", "local", "site")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_WORDS = {"m": "minute", "h": "hour", "d": "day", "w": "week"}
_RELATIVE = re.compile(r"(?:now)?-(\d{1,5})([mhdw])")


@dataclass(frozen=True)
class TimeRange:
    """A half-open range [start, end); `preset` is the relative text it came from, None for an absolute one."""

    start: datetime
    end: datetime
    preset: str | None = None

    @property
    def length(self) -> timedelta:
        """How long the range is."""
        return self.end - self.start

    @property
    def start_text(self) -> str:
        """The start as RFC 3339 in UTC, to the second."""
        return rfc3339(self.start)

    @property
    def end_text(self) -> str:
        """The end as RFC 3339 in UTC, to the second."""
        return rfc3339(self.end)

    @property
    def label(self) -> str:
        """The range in words: "Last 24 hours", or both ends in UTC."""
        if self.preset:
            number, unit = _RELATIVE.fullmatch(self.preset).groups()
            if unit == "h" and int(number) > 48 and int(number) % 24 == 0:
                number, unit = int(number) // 24, "d"
            return f"Last {_WORDS[unit]}" if int(number) == 1 else f"Last {int(number)} {_WORDS[unit]}s"
        same_day = self.start.date() == self.end.date()
        return f"{self.start:%d %b %H:%M} – {self.end.strftime('%H:%M' if same_day else '%d %b %H:%M')}"

    @property
    def words(self) -> str:
        """The label as it stands within a line: "last 24 hours", or both ends."""
        return self.label[0].lower() + self.label[1:] if self.preset else self.label

    @property
    def phrase(self) -> str:
        """The range after "in": "the last 24 hours", or "this range"."""
        return f"the {self.words}" if self.preset else "this range"

    @property
    def wider(self) -> tuple[str, str | None]:
        """`from` and `to` of the range twice as long: a relative one stays relative, another grows on both sides."""
        return self._scaled(2.0)

    @property
    def narrower(self) -> tuple[str, str | None]:
        """`from` and `to` of the range half as long."""
        return self._scaled(0.5)

    def _scaled(self, factor: float) -> tuple[str, str | None]:
        length = min(max(self.length * factor, SHORTEST), LONGEST)
        if self.preset:
            minutes = round(length / timedelta(minutes=1))
            number, unit = (minutes // 60, "h") if minutes % 60 == 0 else (minutes, "m")
            return f"-{number}{unit}", None
        start = self.start - (length - self.length) / 2
        return rfc3339(start), rfc3339(start + length)

    @property
    def earlier(self) -> "TimeRange":
        """The range of the same length that ends where this one begins."""
        return TimeRange(self.start - self.length, self.start)

    @property
    def later(self) -> "TimeRange":
        """The range of the same length that begins where this one ends."""
        return TimeRange(self.end, self.end + self.length)


def parse(start: str | None, end: str | None, *, now: datetime, default: str = DEFAULT) -> TimeRange:
    """The range that `from` and `to` name; an absent `to` is now, an absent `from` is `default` before it.

    Raises InvalidInput naming `from` or `to` for text that is neither relative nor RFC 3339, for an end that is not
    after its start, and for a range shorter than a minute or longer than three years.
    """
    start = (start or default).strip()
    end = (end or "now").strip()
    end_at = now if end == "now" else instant(end, now=now, field="to")
    start_at = instant(start, now=end_at if end == "now" else now, field="from")
    if end_at - start_at < SHORTEST:
        raise InvalidInput(
            {"to": f"The end {rfc3339(end_at)} is not at least a minute after the start {rfc3339(start_at)}."}
        )
    if end_at - start_at > LONGEST:
        raise InvalidInput({"from": "A range may span at most three years."})
    relative = _RELATIVE.fullmatch(start)
    preset = f"-{relative[1]}{relative[2]}" if relative and end == "now" else None
    return TimeRange(start_at, end_at, preset)


def bad_zone(text: str | None) -> str:
    """Why a `tz` makes no sense: "" for utc, local, site and every name of the IANA database."""
    if not text or text.lower() in ZONES or text in zoneinfo.available_timezones():
        return ""
    return f"tz: “{text}” is neither utc, local nor site, nor a time zone such as Europe/Helsinki."


def rfc3339(moment: datetime) -> str:
    """`2026-03-02T12:00:00Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def instant(text: str, *, now: datetime, field: str) -> datetime:
    """The moment that a text names: relative (`-24h`) or RFC 3339; raises InvalidInput naming `field`."""
    if match := _RELATIVE.fullmatch(text):
        return now - timedelta(**{_UNITS[match[2]]: int(match[1])})
    try:
        # a "+" that was not percent-encoded arrives as a blank
        moment = datetime.fromisoformat(text.replace(" ", "+") if re.search(r"T.* \d\d:?\d\d$", text) else text)
    except ValueError:
        raise InvalidInput(
            {field: f"“{text}” is neither relative (-24h, -7d) nor a time such as 2026-03-02T12:00:00Z."}
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
