"""What whole pages and panels take on the server, and how many bytes they send: every address that the routes have."""

from __future__ import annotations

import gzip
import re
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from benchmarks.history import DAY, NOW, RELEASES, Fleet

PAGE_BUDGET_MS = 300
PAGE_BUDGET_BYTES = 150_000
RANGES = {"24 h": DAY, "30 d": 30 * DAY}
# Nobody is logged in there.
_LEFT_OUT = ("login/", "logout/")


@dataclass(frozen=True)
class PageTime:
    """One address: milliseconds by range, the bytes that travel, and those before they are compressed.

    `status` is that of an address that is not timed, because it leads elsewhere or asks for what this fleet lacks.
    """

    route: str
    ms: dict[str, float]
    sent: int
    clear: int
    status: int = 200

    @property
    def worst_ms(self) -> float:
        """Of all ranges."""
        return max(self.ms.values(), default=0.0)


def page_times(fleet: Fleet, repeats: int) -> list[PageTime]:
    """Time every address of pages, panels and charts, with the clock standing still at the end of the history."""
    from django.test import Client

    from fleet.models import User
    from fleet.models.people import Role

    user = User(username="benchmark", roles=[role.value for role in Role])
    user.set_unusable_password()
    user.save()
    with clock_at_the_end():
        client = Client(headers={"Accept-Encoding": "gzip"}, raise_request_exception=False)
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        return [page_time(client, route, path, repeats) for route, path in addresses(fleet)]


def page_time(client, route: str, path: str, repeats: int) -> PageTime:
    """The median time of an address over both ranges, after a first answer that fills the caches."""
    ms: dict[str, float] = {}
    sent = clear = 0
    for name, length in RANGES.items():
        query = {
            "workload": "lane-assist",
            "from": (NOW - length).isoformat(),
            "to": NOW.isoformat(),
            "device": "cam-000007" if re.search("device(?!s)", route) else "",
            "release": RELEASES[1] if re.search("release|compar|attribution", route) else "",
            "against": RELEASES[0] if re.search("release|compar|attribution", route) else "",
        }
        query = {key: value for key, value in query.items() if value}
        taken = []
        for _ in range(repeats + 1):
            begin = time.perf_counter()
            answer = client.get(path, query)
            body = answer.getvalue()
            taken.append(1000 * (time.perf_counter() - begin))
        if answer.status_code != 200:
            return PageTime(route, {}, 0, 0, answer.status_code)
        ms[name] = statistics.median(taken[1:])
        sent = max(sent, len(body))
        clear = max(
            clear, len(gzip.decompress(body)) if answer.headers.get("Content-Encoding") == "gzip" else len(body)
        )
    return PageTime(route, ms, sent, clear)


def addresses(fleet: Fleet) -> Iterator[tuple[str, str]]:
    """Route and address of every page, panel and chart; those of things that this fleet has not are left out."""
    from django.utils.module_loading import import_string

    for app in ("fleet", "telemetry", "drift", "rollouts"):
        for pattern in import_string(f"{app}.urls.page_patterns"):
            route = str(pattern.pattern)
            if route in _LEFT_OUT:
                continue
            path = route.replace("<str:serial>", "cam-000007")
            if route.startswith("releases/"):
                path = path.replace("<int:pk>", str(fleet.release_ids[1]))
            if route.startswith("playbooks/"):
                path = path.replace("<slug:kind>", "latency")
            if "<" not in path:
                yield route or "(home)", f"/{path}"


@contextmanager
def clock_at_the_end() -> Iterator[None]:
    """The clock that views read stands still, a moment after the newest record."""
    from django.utils import timezone

    real = timezone.now
    timezone.now = lambda: NOW + timedelta(seconds=30)
    try:
        yield
    finally:
        timezone.now = real


def table_of_pages(found: list[PageTime]) -> str:
    """The times as text, the slowest first."""
    timed = sorted((page for page in found if page.ms), key=lambda page: -page.worst_ms)
    lines = [f"{'address':<44}" + "".join(f"{name:>10}" for name in RANGES) + f"{'bytes':>10}{'in clear':>10}"]
    for page in timed:
        over = "  over the budget" if page.worst_ms > PAGE_BUDGET_MS or page.sent > PAGE_BUDGET_BYTES else ""
        times = "".join(f"{page.ms[name]:>10.1f}" for name in RANGES)
        lines.append(f"{page.route:<44}{times}{page.sent:>10,}{page.clear:>10,}{over}")
    within = sum(page.worst_ms <= PAGE_BUDGET_MS and page.sent <= PAGE_BUDGET_BYTES for page in timed)
    budget = f"{PAGE_BUDGET_MS} ms and {PAGE_BUDGET_BYTES:,} bytes"
    lines.append(f"\n{within} of {len(timed)} pages, panels and charts within {budget}")
    broken = [f"{page.route} ({page.status})" for page in found if page.status >= 500]
    other = [f"{page.route} ({page.status})" for page in found if not page.ms and page.status < 500]
    lines += [f"not timed: {', '.join(other)}"] if other else []
    lines += [f"FAILED: {', '.join(broken)}"] if broken else []
    return "\n".join(lines)
