"""`manage.py replay_evidence ID`: recompute a verdict from frozen evidence and say whether it comes out the same."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from rollouts.models import Evidence, Recommendation
from rollouts.selectors.replay import Replay, replay


class Command(BaseCommand):
    """Exit code 0 when every verdict came out the same, 1 when one did not."""

    help = "Recompute verdicts from their frozen evidence."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """An id or a hash, or everything."""
        parser.add_argument("evidence", nargs="?", help="id or SHA-256 (or its beginning) of a piece of evidence")
        parser.add_argument("--recommendation", type=int, help="id of a recommendation instead")
        parser.add_argument("--all", action="store_true", help="replay every recommendation on record")

    def handle(self, *args: Any, **options: Any) -> None:
        """Replay and report, one line per piece of evidence."""
        failed = 0
        chosen = self._chosen(options)
        for evidence in chosen:
            result = replay(evidence)
            self.stdout.write(line(result))
            for difference in result.differences:
                self.stdout.write(f"    {difference}")
            failed += not result.agrees
        if failed:
            raise CommandError(f"{failed} of {len(chosen)} did not come out the same.")

    def _chosen(self, options: dict[str, Any]) -> list[Evidence]:
        if options["all"]:
            return list(Evidence.objects.filter(kind=Evidence.Kind.RECOMMENDATION).order_by("id"))
        if options["recommendation"]:
            found = Recommendation.objects.filter(pk=options["recommendation"]).select_related("evidence").first()
            if found is None:
                raise CommandError(f"There is no recommendation {options['recommendation']}.")
            return [found.evidence]
        reference = options["evidence"]
        if not reference:
            raise CommandError("Name a piece of evidence by id or hash, or say --all.")
        rows = Evidence.objects.filter(sha256__startswith=reference)
        if reference.isdigit() and len(reference) < 19:
            rows = Evidence.objects.filter(pk=int(reference)) or rows
        found = list(rows[:2])
        if len(found) != 1:
            raise CommandError(f"{len(found) or 'No'} piece{'s' if found else ''} of evidence is called {reference}.")
        return found


def line(result: Replay) -> str:
    """One line: id, hash, what was decided, and whether it came out the same."""
    evidence = result.evidence
    decided = result.recorded.get("recommendation", "submission")
    verdict = result.recorded.get("verdict", "")
    outcome = "same" if result.agrees else "DIFFERENT"
    code = "" if result.same_code else " (decided by another version of the code)"
    if result.reworded:
        code = " (decided by another version of the code, which says it in other words)"
    return f"evidence {evidence.pk} {evidence.sha256[:16]} {decided} {verdict}: {outcome}{code}".replace("  ", " ")
