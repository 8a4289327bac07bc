"""`manage.py load_demo`: an example fleet with nine days of history and a canary that has just begun."""

import json
import os
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from rollouts import demo
from rollouts.demo import people


class Command(BaseCommand):
    """Builds the example; running it again changes nothing."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        """`--json` prints one line with the logins for programs."""
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        """Build it, saying on standard error what is being done."""
        folder = os.environ.get("RIDGELINE_DEMO_DIR")
        models = Path(folder) / "models" if folder else None
        loaded = demo.load(
            now=timezone.now(),
            models=models if models and (models / "bom.json").is_file() else None,
            say=lambda text: self.stderr.write(text),
        )
        if options["json"]:
            self.stdout.write(json.dumps({"logins": people.logins(), "rollout": loaded.rollout}))
            return
        self.stdout.write(f"{loaded.devices} devices, {loaded.batches} batches of history, rollout {loaded.rollout}")
        for login in people.logins():
            self.stdout.write(f"{login['role']}: {login['username']} / {login['password']}")
