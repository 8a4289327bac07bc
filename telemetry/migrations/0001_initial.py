"""The plain tables of the telemetry app."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('fleet', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='Context',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('digest', models.CharField(max_length=32, unique=True)),
                ('model_version', models.CharField(blank=True, default='', max_length=128)),
                ('firmware_version', models.CharField(blank=True, default='', max_length=128)),
                ('driver_version', models.CharField(blank=True, default='', max_length=128)),
                ('runtime_version', models.CharField(blank=True, default='', max_length=128)),
                ('accelerator', models.CharField(blank=True, default='', max_length=128)),
                ('power_mode', models.CharField(blank=True, default='', max_length=64)),
                ('mismatches', models.JSONField(blank=True, default=dict)),
                ('created_at', models.DateTimeField()),
                ('release', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='contexts', to='fleet.release')),
                ('workload', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='contexts', to='fleet.workload')),
            ],
        ),
        migrations.CreateModel(
            name='Batch',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('boot_id', models.CharField(max_length=64)),
                ('batch_seq', models.BigIntegerField()),
                ('sha256', models.BinaryField(max_length=32)),
                ('received_at', models.DateTimeField()),
                ('sent_at', models.DateTimeField(null=True)),
                ('clock_offset_us', models.BigIntegerField(db_default=0, default=0)),
                ('clock_synced', models.BooleanField(db_default=True, default=True)),
                ('clock_error_ms', models.FloatField(null=True)),
                ('inferences', models.IntegerField(db_default=0, default=0)),
                ('windows', models.IntegerField(db_default=0, default=0)),
                ('sampled', models.BooleanField(db_default=False, default=False)),
                ('window_inferences', models.BigIntegerField(db_default=0, default=0)),
                ('events', models.IntegerField(db_default=0, default=0)),
                ('states', models.IntegerField(db_default=0, default=0)),
                ('counters', models.IntegerField(db_default=0, default=0)),
                ('rejected', models.IntegerField(db_default=0, default=0)),
                ('unknown_fields', models.IntegerField(db_default=0, default=0)),
                ('dropped_inferences', models.BigIntegerField(db_default=0, default=0)),
                ('dropped_windows', models.BigIntegerField(db_default=0, default=0)),
                ('dropped_events', models.BigIntegerField(db_default=0, default=0)),
                ('min_time', models.DateTimeField(null=True)),
                ('max_time', models.DateTimeField(null=True)),
                ('bytes', models.IntegerField(db_default=0, default=0)),
                ('repeats', models.IntegerField(db_default=0, default=0)),
                ('reply', models.JSONField(db_default=models.Value({}, output_field=models.JSONField()), default=dict)),
                ('device', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='batches', to='fleet.device')),
                ('context', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='batches', to='telemetry.context')),
            ],
            options={
                'verbose_name_plural': 'batches',
            },
        ),
        migrations.CreateModel(
            name='Counter',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=128)),
                ('value', models.FloatField()),
                ('time', models.DateTimeField()),
                ('boot_id', models.CharField(max_length=64)),
                ('device', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='counters', to='fleet.device')),
            ],
        ),
        migrations.CreateModel(
            name='DeviceLatest',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('last_seen_at', models.DateTimeField()),
                ('last_event_time', models.DateTimeField(null=True)),
                ('boot_id', models.CharField(max_length=64)),
                ('batch_seq', models.BigIntegerField()),
                ('latency_p95_ms', models.FloatField(null=True)),
                ('energy_mj', models.FloatField(null=True)),
                ('confidence', models.FloatField(null=True)),
                ('temperature_c', models.FloatField(null=True)),
                ('power_w', models.FloatField(null=True)),
                ('memory_mb', models.FloatField(null=True)),
                ('battery_pct', models.FloatField(null=True)),
                ('throttled', models.BooleanField(db_default=False, default=False)),
                ('fallback_rate', models.FloatField(null=True)),
                ('error_rate', models.FloatField(null=True)),
                ('clock_skew_ms', models.FloatField(null=True)),
                ('release_since', models.DateTimeField(null=True)),
                ('context', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='telemetry.context')),
                ('device', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='latest', to='fleet.device')),
                ('release', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='fleet.release')),
                ('workload', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='fleet.workload')),
            ],
            options={
                'verbose_name_plural': 'device latest',
            },
        ),
        migrations.CreateModel(
            name='Directive',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('values', models.JSONField(default=dict)),
                ('source', models.CharField(default='operator', max_length=64)),
                ('created_at', models.DateTimeField()),
                ('expires_at', models.DateTimeField(blank=True, null=True)),
                ('device', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='directives', to='fleet.device')),
                ('group', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='directives', to='fleet.devicegroup')),
            ],
        ),
        migrations.CreateModel(
            name='MaintenanceRun',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('retention', 'Retention'), ('audit', 'Audit'), ('rebuild', 'Rebuild')], max_length=16)),
                ('started_at', models.DateTimeField()),
                ('finished_at', models.DateTimeField(null=True)),
                ('succeeded', models.BooleanField(null=True)),
                ('result', models.JSONField(default=dict)),
            ],
            options={
                'ordering': ['-started_at', '-id'],
                'indexes': [models.Index(fields=['kind', '-started_at'], name='telemetry_m_kind_11da32_idx')],
            },
        ),
        migrations.CreateModel(
            name='QuarantinedRecord',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('received_at', models.DateTimeField()),
                ('section', models.CharField(max_length=16)),
                ('index', models.IntegerField(null=True)),
                ('field', models.CharField(blank=True, default='', max_length=64)),
                ('code', models.CharField(max_length=48)),
                ('message', models.TextField()),
                ('record', models.JSONField(null=True)),
                ('batch', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='quarantined_records', to='telemetry.batch')),
                ('device', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='quarantined_records', to='fleet.device')),
            ],
        ),
        migrations.CreateModel(
            name='ReleaseSpan',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('first_time', models.DateTimeField()),
                ('last_time', models.DateTimeField()),
                ('first_boot_id', models.CharField(blank=True, default='', max_length=64)),
                ('device', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='release_spans', to='fleet.device')),
                ('release', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='release_spans', to='fleet.release')),
                ('workload', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='fleet.workload')),
            ],
            options={
                'ordering': ['device', 'first_time'],
            },
        ),
        migrations.CreateModel(
            name='RequestReject',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField()),
                ('status', models.PositiveSmallIntegerField()),
                ('code', models.CharField(max_length=48)),
                ('message', models.TextField(blank=True, default='')),
                ('body_sample', models.BinaryField(max_length=512, null=True)),
                ('bytes', models.BigIntegerField(db_default=0, default=0)),
                ('device', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='request_rejects', to='fleet.device')),
            ],
        ),
        migrations.CreateModel(
            name='BatchGap',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('boot_id', models.CharField(max_length=64)),
                ('missing_from', models.BigIntegerField()),
                ('missing_to', models.BigIntegerField()),
                ('after_time', models.DateTimeField(null=True)),
                ('before_time', models.DateTimeField(null=True)),
                ('found_at', models.DateTimeField()),
                ('filled_at', models.DateTimeField(null=True)),
                ('device', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='batch_gaps', to='fleet.device')),
            ],
            options={
                'indexes': [models.Index(fields=['device', 'boot_id'], name='telemetry_b_device__2d30c0_idx'), models.Index(condition=models.Q(('filled_at', None)), fields=['before_time'], name='batch_gap_open')],
                'constraints': [models.CheckConstraint(condition=models.Q(('missing_to__gte', models.F('missing_from'))), name='batch_gap_ordered')],
            },
        ),
        migrations.CreateModel(
            name='ClassLabel',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=128)),
                ('workload', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='class_labels', to='fleet.workload')),
            ],
            options={
                'ordering': ['workload', 'name'],
                'constraints': [models.UniqueConstraint(fields=('workload', 'name'), name='class_label_unique')],
            },
        ),
        migrations.AddIndex(
            model_name='context',
            index=models.Index(fields=['workload', 'release'], name='telemetry_c_workloa_951c0b_idx'),
        ),
        migrations.AddIndex(
            model_name='batch',
            index=models.Index(fields=['device', '-received_at'], name='telemetry_b_device__08fd90_idx'),
        ),
        migrations.AddIndex(
            model_name='batch',
            index=models.Index(fields=['received_at'], name='telemetry_b_receive_3e32f5_idx'),
        ),
        migrations.AddIndex(
            model_name='batch',
            index=models.Index(condition=models.Q(('dropped_inferences__gt', 0), ('dropped_windows__gt', 0), ('dropped_events__gt', 0), _connector='OR'), fields=['received_at'], name='batch_with_drops'),
        ),
        migrations.AddConstraint(
            model_name='batch',
            constraint=models.UniqueConstraint(fields=('device', 'boot_id', 'batch_seq'), name='batch_once'),
        ),
        migrations.AddConstraint(
            model_name='counter',
            constraint=models.UniqueConstraint(fields=('device', 'name'), name='counter_once'),
        ),
        migrations.AddConstraint(
            model_name='devicelatest',
            constraint=models.UniqueConstraint(fields=('device', 'workload'), name='device_latest_once'),
        ),
        migrations.AddConstraint(
            model_name='directive',
            constraint=models.CheckConstraint(condition=models.Q(('group__isnull', True), ('device__isnull', True), _connector='OR'), name='directive_has_one_scope'),
        ),
        migrations.AddIndex(
            model_name='quarantinedrecord',
            index=models.Index(fields=['device', '-received_at'], name='telemetry_q_device__249c01_idx'),
        ),
        migrations.AddIndex(
            model_name='quarantinedrecord',
            index=models.Index(fields=['received_at', 'code'], name='telemetry_q_receive_73a5ab_idx'),
        ),
        migrations.AddIndex(
            model_name='releasespan',
            index=models.Index(fields=['device', 'workload', 'first_time'], name='telemetry_r_device__952c99_idx'),
        ),
        migrations.AddIndex(
            model_name='releasespan',
            index=models.Index(fields=['release', 'first_time'], name='telemetry_r_release_6ea705_idx'),
        ),
        migrations.AddConstraint(
            model_name='releasespan',
            constraint=models.CheckConstraint(condition=models.Q(('last_time__gte', models.F('first_time'))), name='release_span_ordered'),
        ),
        migrations.AddIndex(
            model_name='requestreject',
            index=models.Index(fields=['device', '-at'], name='telemetry_r_device__10bec9_idx'),
        ),
        migrations.AddIndex(
            model_name='requestreject',
            index=models.Index(fields=['at', 'code'], name='telemetry_r_at_8f3b02_idx'),
        ),
    ]
