-- One inference, by the device and the time that it was recorded under.
SELECT device_id, context_id, time, sample_ref, predicted_class, confidence
FROM inference
WHERE device_id = %(device_id)s AND time = %(time)s AND context_id = ANY(%(context_ids)s::int4[])
LIMIT 1
