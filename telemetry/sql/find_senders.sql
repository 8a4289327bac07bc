-- The devices behind tokens that are good at this moment and whose use was noted lately: what nearly every batch finds.
SELECT t.key_id, t.kind, t.secret_hmac, t.pepper_version, d.id, d.serial
FROM fleet_token t JOIN fleet_device d ON d.id = t.device_id
WHERE t.key_id = ANY(%(key_ids)s) AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > %(now)s)
  AND t.last_used_at > %(noted_since)s AND d.status = 'accepted'
