"""Maintenance windows: whether a device may be updated at this moment."""

from collections.abc import Mapping
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from rollouts.plans import SITE, WEEKDAYS


def is_open(window: Mapping[str, Any] | None, now: datetime, site_timezone: str) -> bool:
    """Whether the window is open; no window is always open. `now` is aware.

    "timezone" is an IANA name or "site" (the default: the device's region). A window that ends before it begins runs
    past midnight and belongs to the day on which it began. A time zone that nobody knows is read as UTC.
    """
    if window is None:
        return True
    name = window.get("timezone", SITE)
    local = now.astimezone(_zone(site_timezone if name == SITE else name))
    begins, ends = _time_of(window["from"]), _time_of(window["to"])
    days = window.get("days") or WEEKDAYS
    today = local.time().replace(tzinfo=None)
    if begins < ends:
        return begins <= today < ends and _weekday(local) in days
    if today >= begins:
        return _weekday(local) in days
    return today < ends and _weekday(local - timedelta(days=1)) in days


def _weekday(moment: datetime) -> str:
    return WEEKDAYS[moment.weekday()]


def _time_of(text: str) -> time:
    hours, minutes = text.split(":")
    return time(int(hours), int(minutes))


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")
