"""Rows of cohorts keep their histograms in the row: fetching each from the TOAST table took longer than the scan.

A row with its histograms is a little longer than the two kilobytes from which PostgreSQL moves the longest value out,
which is the latency histogram, the one that is read most. Chunks take the setting over; rows written before keep their
place until they are written anew.
"""

from django.db import migrations

TIERS = ("cohort_5min", "cohort_hour", "cohort_day")


class Migration(migrations.Migration):
    dependencies = [("telemetry", "0004_counter_readings")]

    operations = [
        migrations.RunSQL(
            f"ALTER TABLE {tier} SET (toast_tuple_target = 8160)", f"ALTER TABLE {tier} RESET (toast_tuple_target)"
        )
        for tier in TIERS
    ]
