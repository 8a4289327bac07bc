"""`manage.py prune_artifacts`: remove files of artifacts that nothing refers to."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from rollouts.services.pruning import prune


class Command(BaseCommand):
    """Prints one line per file, and how much was freed."""

    help = "Remove files of artifacts that no release refers to, and of releases that were withdrawn long ago."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """What else may go, and whether anything goes at all."""
        parser.add_argument(
            "--withdrawn-days",
            type=float,
            help="also files of releases that were withdrawn so many days ago and that no device can want",
        )
        parser.add_argument("--dry-run", action="store_true", help="only say what would go")

    def handle(self, *args: Any, **options: Any) -> None:
        """Prune and report."""
        days = options["withdrawn_days"]
        rows = prune(
            timezone.now(),
            withdrawn_before=None if days is None else timedelta(days=days),
            dry_run=options["dry_run"],
        )
        for row in rows:
            self.stdout.write(f"{row.path} {row.size} bytes: {row.reason}")
        verb = "would be freed" if options["dry_run"] else "freed"
        self.stdout.write(f"{len(rows)} files, {sum(row.size for row in rows)} bytes {verb}")
