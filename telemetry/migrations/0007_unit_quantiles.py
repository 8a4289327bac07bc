"""Quantiles of confidence and input quality for psql and Grafana, as 0002 has them of latency and energy."""

from django.db import migrations

CREATE = """
CREATE FUNCTION ridgeline_unit_quantile(histograms bytea[], p float8) RETURNS float8
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
  -- The p-quantile of histograms on [0, 1] merged: SELECT ridgeline_unit_quantile(array_agg(confidence_hist), 0.05) ...
  -- The value is the middle of the bin of the order statistic at rank ceil(p n), within 0.005 of it.
  WITH bins AS (
    SELECT bin, lower, upper, sum(h.count) AS count
    FROM unnest(histograms) AS packed, ridgeline_unit_histogram(packed) AS h
    GROUP BY bin, lower, upper
  ), ranked AS (
    SELECT lower, upper, sum(count) OVER (ORDER BY bin) AS below, sum(count) OVER () AS total FROM bins
  )
  SELECT (lower + upper) / 2 FROM ranked WHERE below >= greatest(ceil(p * total), 1) ORDER BY lower LIMIT 1
$$
"""


class Migration(migrations.Migration):
    dependencies = [("telemetry", "0006_late_and_bad_batches")]

    operations = [migrations.RunSQL(CREATE, "DROP FUNCTION ridgeline_unit_quantile(bytea[], float8)")]
