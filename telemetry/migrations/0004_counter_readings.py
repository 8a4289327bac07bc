"""Counter rates keep the reading they follow from, so that one that comes late can be put between its neighbours."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("telemetry", "0003_otlp")]

    operations = [
        # null in rows written before
        migrations.RunSQL(
            "ALTER TABLE counter_rate ADD COLUMN value float8, ADD COLUMN boot_id text",
            "ALTER TABLE counter_rate DROP COLUMN value, DROP COLUMN boot_id",
        ),
    ]
