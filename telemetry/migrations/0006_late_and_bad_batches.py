"""A small index of the batches that came late or were not taken whole, so that a fleet's totals cost what they are."""

from datetime import timedelta

from django.db import migrations, models
from django.db.models import F, Q
from django.db.models.lookups import GreaterThan

AGE = models.ExpressionWrapper(F("received_at") - F("max_time"), models.DurationField())


class Migration(migrations.Migration):
    dependencies = [("telemetry", "0005_histograms_in_the_row")]

    operations = [
        migrations.AddIndex(
            model_name="batch",
            index=models.Index(
                fields=["received_at"],
                condition=Q(GreaterThan(AGE, timedelta(minutes=10))) | Q(rejected__gt=0),
                name="batch_late_or_bad",
            ),
        ),
    ]
