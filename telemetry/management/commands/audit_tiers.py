"""`manage.py audit_tiers`: compare ledger, raw rows and all tiers, with progress; exits with 1 where they disagree."""

from argparse import ArgumentParser
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from fleet import timerange
from fleet.exceptions import InvalidInput
from telemetry.management.progress import draw
from telemetry.services.auditing import audit_tiers


class Command(BaseCommand):
    """Audits the tiers of roll-ups."""

    help = "Compare ledger, raw rows, minutes, hours, days and cohorts: counts exactly, sums to rounding."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Over which range."""
        parser.add_argument(
            "--from", dest="start", default="-2d", help="RFC 3339, or relative: --from=-24h (default -2d)"
        )
        parser.add_argument("--to", dest="end", default="now", help="RFC 3339 or relative (default now)")

    def handle(self, *args: Any, start: str, end: str, **options: Any) -> None:
        """Compare, and list what differs."""
        now = timezone.now()
        try:
            span = timerange.parse(start, end, now=now)
        except InvalidInput as refusal:
            raise CommandError(str(refusal)) from None
        result = audit_tiers(span.start, span.end, now=now, clock=timezone.now, progress=partial(draw, self.stderr))
        for check, n in result["compared"].items():
            self.stdout.write(f"{check}: {n} compared")
        for text in result["differences"]:
            self.stdout.write(f"  {text}")
        if not result["agreed"]:
            raise CommandError(f"{result['n_differences']} differences.")
        self.stdout.write("All tiers agree.")
