"""A recommendation names the stage that begins when the lane goes on: its roles are the ones that sign."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    """Those of before name none; nobody is let on by them without the signatures of the stage that begins."""

    dependencies = [("rollouts", "0003_starting_stages")]

    operations = [
        migrations.AddField(
            "recommendation",
            "next_stage",
            models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="rollouts.stage",
            ),
        ),
    ]
