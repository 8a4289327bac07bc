-- Roll-ups of cohorts over [start, end): days in the middle, hours at the edges, five minutes at the ragged edges. The
-- folding task keeps the three tiers in step within one transaction, so they can be mixed freely.
WITH covered AS (
  SELECT bucket, context_id, hardware_target_id, region_id, {columns} FROM cohort_day
  WHERE bucket >= %(first_day)s AND bucket < %(last_day)s AND {filter}
  UNION ALL
  SELECT bucket, context_id, hardware_target_id, region_id, {columns} FROM cohort_hour
  WHERE bucket >= %(first_hour)s AND bucket < %(first_day)s AND {filter}
  UNION ALL
  SELECT bucket, context_id, hardware_target_id, region_id, {columns} FROM cohort_hour
  WHERE bucket >= %(last_day)s AND bucket < %(last_hour)s AND {filter}
  UNION ALL
  SELECT bucket, context_id, hardware_target_id, region_id, {columns} FROM cohort_5min
  WHERE bucket >= %(start)s AND bucket < %(first_hour)s AND {filter}
  UNION ALL
  SELECT bucket, context_id, hardware_target_id, region_id, {columns} FROM cohort_5min
  WHERE bucket >= %(last_hour)s AND bucket < %(end)s AND {filter}
)
SELECT {selected}
FROM covered
