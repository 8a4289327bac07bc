"""Large stages are written down piece by piece; every stage that exists has been."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    """How far a starting stage has come, and the members that are still to be written."""

    dependencies = [("rollouts", "0002_append_only")]

    operations = [
        migrations.AddField("stagerun", "drawn", models.PositiveIntegerField(default=0)),
        migrations.AddField("stagerun", "written", models.PositiveIntegerField(default=0)),
        migrations.AddField("stagerun", "ready_at", models.DateTimeField(blank=True, null=True)),
        migrations.RunSQL("UPDATE rollouts_stagerun SET ready_at = started_at", migrations.RunSQL.noop),
        migrations.AddIndex(
            "stagerun", models.Index(condition=models.Q(("ready_at", None)), fields=["id"], name="run_starting")
        ),
        migrations.CreateModel(
            name="DrawnMember",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "run",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="rollouts.stagerun",
                    ),
                ),
                ("position", models.PositiveIntegerField()),
                ("device_id", models.BigIntegerField()),
                ("lane_id", models.BigIntegerField()),
                ("arm", models.CharField(max_length=8)),
                ("stratum", models.CharField(max_length=200)),
                ("analysed", models.BooleanField()),
                ("previous_release_id", models.BigIntegerField(null=True)),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("run", "position"), name="drawn_once")],
            },
        ),
    ]
