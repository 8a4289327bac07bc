"""`manage.py bootstrap_access`: give automation its API token and enrolment key."""

import json
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from fleet.services.people import bootstrap_access


class Command(BaseCommand):
    """Creates, or renews, an administrator's API token with all scopes and an enrolment key without approval."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        """`--json` prints one line for programs."""
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print both texts, which are shown this once."""
        access = asdict(bootstrap_access(now=timezone.now()))
        if options["json"]:
            self.stdout.write(json.dumps(access))
        else:
            for name, value in access.items():
                self.stdout.write(f"{name}: {value}")
