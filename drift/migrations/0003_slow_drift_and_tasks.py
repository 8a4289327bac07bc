"""Slow drift against hold-backs, creep against an anchor, and retrospectives that run as tasks."""

from importlib import import_module

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    """Adds tables and columns; taking it back leaves the playbooks, which people may have edited."""

    dependencies = [
        ('drift', '0002_playbooks'),
        ('fleet', '0003_saved_views'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        # the playbooks of the new kinds of alarm
        migrations.RunPython(import_module("drift.migrations.0002_playbooks").install, migrations.RunPython.noop),
        migrations.AddField(
            model_name='finding',
            name='detail',
            field=models.JSONField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='retrospective',
            name='claim',
            field=models.CharField(blank=True, default='', max_length=36),
        ),
        migrations.AddField(
            model_name='retrospective',
            name='heard_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='retrospective',
            name='kind',
            field=models.CharField(choices=[('release', 'A release against the one before'), ('history', 'History against itself')], default='release', max_length=8),
        ),
        migrations.AlterField(
            model_name='alarm',
            name='kind',
            field=models.CharField(choices=[('cpu_fallback', 'Silent CPU fallback'), ('occupancy_drop', 'Accelerator occupancy drop'), ('energy_drift', 'Energy drift'), ('latency_drift', 'Latency drift'), ('confidence_drop', 'Confidence drop'), ('telemetry_gap', 'Telemetry gap'), ('silent_after_update', 'Silent after update'), ('thermal_soak', 'Throttling after thermal soak'), ('bom_mismatch', 'Bill-of-materials mismatch'), ('accuracy_drop', 'Accuracy drop'), ('slow_drift', 'Slow drift'), ('release_creep', 'Creep across releases')], max_length=32),
        ),
        migrations.AlterField(
            model_name='evaluation',
            name='status',
            field=models.CharField(choices=[('queued', 'Queued'), ('running', 'Running'), ('done', 'Done'), ('failed', 'Failed'), ('stopped', 'Cancelled')], default='queued', max_length=8),
        ),
        migrations.AlterField(
            model_name='evaluationcell',
            name='status',
            field=models.CharField(choices=[('queued', 'Queued'), ('running', 'Running'), ('done', 'Done'), ('failed', 'Failed'), ('stopped', 'Cancelled')], default='queued', max_length=8),
        ),
        migrations.AlterField(
            model_name='retrospective',
            name='status',
            field=models.CharField(choices=[('queued', 'Queued'), ('running', 'Running'), ('done', 'Done'), ('failed', 'Failed'), ('stopped', 'Cancelled')], default='queued', max_length=8),
        ),
        migrations.CreateModel(
            name='CreepAnchor',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('reason', models.TextField(blank=True, default='')),
                ('set_at', models.DateTimeField()),
                ('release', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='fleet.release')),
                ('set_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, to=settings.AUTH_USER_MODEL)),
                ('workload', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='creep_anchor', to='fleet.workload')),
            ],
            options={
                'ordering': ['workload'],
            },
        ),
        migrations.CreateModel(
            name='HoldBackWatch',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('reference', models.BigIntegerField()),
                ('started_at', models.DateTimeField()),
                ('planned_looks', models.PositiveIntegerField()),
                ('looks', models.PositiveIntegerField(default=0)),
                ('last_look_at', models.DateTimeField(blank=True, null=True)),
                ('look_state', models.JSONField(blank=True, null=True)),
                ('history', models.JSONField(blank=True, default=list)),
                ('hardware_target', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to='fleet.hardwaretarget')),
                ('release', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='fleet.release')),
                ('workload', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to='fleet.workload')),
            ],
            options={
                'ordering': ['-started_at', '-id'],
                'constraints': [models.UniqueConstraint(fields=('reference', 'release', 'hardware_target'), name='hold_back_watch_once')],
            },
        ),
    ]
