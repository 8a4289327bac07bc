"""`manage.py rebuild_tiers`: write tiers anew from finer ones, with progress."""

from argparse import ArgumentParser
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from fleet import timerange
from fleet.exceptions import InvalidInput
from telemetry.management.progress import draw
from telemetry.services.rebuilding import TIERS, rebuild_tiers


class Command(BaseCommand):
    """Rebuilds tiers of roll-ups while the product goes on running."""

    help = "Write tiers anew from finer ones: minutes from raw rows, all others from the tier below."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Which tiers, over which range."""
        parser.add_argument(
            "tiers", nargs="*", metavar="TIER", help=f"any of {', '.join(TIERS)}; all but minutes if none"
        )
        parser.add_argument(
            "--from", dest="start", default="-7d", help="RFC 3339, or relative: --from=-24h (default -7d)"
        )
        parser.add_argument("--to", dest="end", default="now", help="RFC 3339 or relative (default now)")

    def handle(self, *args: Any, tiers: list[str], start: str, end: str, **options: Any) -> None:
        """Rebuild, and say how many rows were written."""
        unknown = set(tiers) - set(TIERS)
        if unknown:
            raise CommandError(f"{sorted(unknown)[0]} is none of {', '.join(TIERS)}.")
        now = timezone.now()
        try:
            span = timerange.parse(start, end, now=now)
        except InvalidInput as refusal:
            raise CommandError(str(refusal)) from None
        chosen = tuple(tiers) or TIERS[1:]
        result = rebuild_tiers(
            chosen, span.start, span.end, now=now, clock=timezone.now, progress=partial(draw, self.stderr)
        )
        for tier, rows in result["rows"].items():
            self.stdout.write(f"{tier}: {rows:,} rows written")
        if result.get("skipped_batches"):
            self.stdout.write(f"{result['skipped_batches']:,} batches kept: their raw rows are not kept whole")
