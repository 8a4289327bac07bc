"""What the database itself refuses: changes to the audit trail, and changes to a release once it is published."""

from django.db import migrations

AUDIT = """
CREATE FUNCTION fleet_refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit trail is append-only: % refused', TG_OP USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER audit_rows_stay BEFORE UPDATE OR DELETE ON fleet_auditentry
    FOR EACH ROW EXECUTE FUNCTION fleet_refuse_audit_change();
CREATE TRIGGER audit_table_stays BEFORE TRUNCATE ON fleet_auditentry
    FOR EACH STATEMENT EXECUTE FUNCTION fleet_refuse_audit_change();
"""
AUDIT_REVERSE = """
DROP TRIGGER audit_rows_stay ON fleet_auditentry;
DROP TRIGGER audit_table_stays ON fleet_auditentry;
DROP FUNCTION fleet_refuse_audit_change();
"""

# A published release may only be withdrawn. Who created it may be forgotten with the account (SET NULL).
RELEASE = """
CREATE FUNCTION fleet_refuse_frozen_release_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.status NOT IN ('published', 'withdrawn') THEN
        IF TG_OP = 'DELETE' THEN RETURN OLD; ELSE RETURN NEW; END IF;
    END IF;
    IF TG_OP = 'UPDATE'
        AND to_jsonb(NEW) - '{status,withdrawn_at,created_by_id}'::text[]
          = to_jsonb(OLD) - '{status,withdrawn_at,created_by_id}'::text[]
        AND (NEW.created_by_id IS NULL OR NEW.created_by_id IS NOT DISTINCT FROM OLD.created_by_id)
        AND (NEW.status = OLD.status AND NEW.withdrawn_at IS NOT DISTINCT FROM OLD.withdrawn_at
             OR OLD.status = 'published' AND NEW.status = 'withdrawn')
    THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'release % is % and therefore frozen: % refused', OLD.id, OLD.status, TG_OP
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER frozen_release_stays BEFORE UPDATE OR DELETE ON fleet_release
    FOR EACH ROW EXECUTE FUNCTION fleet_refuse_frozen_release_change();

CREATE FUNCTION fleet_refuse_frozen_target_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    target record;
BEGIN
    IF TG_OP = 'DELETE' THEN target := OLD; ELSE target := NEW; END IF;
    IF EXISTS (SELECT 1 FROM fleet_release r
               WHERE r.status IN ('published', 'withdrawn')
                 AND (r.id = target.release_id OR TG_OP = 'UPDATE' AND r.id = OLD.release_id)) THEN
        RAISE EXCEPTION 'release % is frozen: its hardware targets cannot change', target.release_id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN target;
END $$;
CREATE TRIGGER frozen_release_targets_stay BEFORE INSERT OR UPDATE OR DELETE ON fleet_release_hardware_targets
    FOR EACH ROW EXECUTE FUNCTION fleet_refuse_frozen_target_change();
"""
RELEASE_REVERSE = """
DROP TRIGGER frozen_release_stays ON fleet_release;
DROP FUNCTION fleet_refuse_frozen_release_change();
DROP TRIGGER frozen_release_targets_stay ON fleet_release_hardware_targets;
DROP FUNCTION fleet_refuse_frozen_target_change();
"""

# The files of a frozen release may still be stored, checked and signed where only their description was published,
# because the SHA-256 that names them stays: what was empty may be filled once, nothing may be replaced.
ARTIFACT = """
CREATE FUNCTION fleet_refuse_frozen_artifact_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    artifact record;
BEGIN
    IF TG_OP = 'DELETE' THEN artifact := OLD; ELSE artifact := NEW; END IF;
    IF NOT EXISTS (SELECT 1 FROM fleet_release r
                   WHERE r.status IN ('published', 'withdrawn')
                     AND (r.id = artifact.release_id OR TG_OP = 'UPDATE' AND r.id = OLD.release_id)) THEN
        RETURN artifact;
    END IF;
    IF TG_OP = 'UPDATE'
        AND to_jsonb(NEW) - '{path,size,sha1,md5,signature,signature_form,signing_key_id}'::text[]
          = to_jsonb(OLD) - '{path,size,sha1,md5,signature,signature_form,signing_key_id}'::text[]
        AND (OLD.path = '' OR NEW.path = OLD.path)
        AND (OLD.size = 0 OR NEW.size = OLD.size)
        AND (OLD.sha1 = '' OR NEW.sha1 = OLD.sha1)
        AND (OLD.md5 = '' OR NEW.md5 = OLD.md5)
        AND (OLD.signature IS NULL OR (NEW.signature, NEW.signature_form, NEW.signing_key_id)
             IS NOT DISTINCT FROM (OLD.signature, OLD.signature_form, OLD.signing_key_id))
    THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'release % is frozen: its artifacts cannot change', artifact.release_id
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER frozen_release_artifacts_stay BEFORE INSERT OR UPDATE OR DELETE ON fleet_artifact
    FOR EACH ROW EXECUTE FUNCTION fleet_refuse_frozen_artifact_change();
"""
ARTIFACT_REVERSE = """
DROP TRIGGER frozen_release_artifacts_stay ON fleet_artifact;
DROP FUNCTION fleet_refuse_frozen_artifact_change();
"""


class Migration(migrations.Migration):
    """Triggers on the audit trail, releases, their hardware targets and their artifacts."""

    dependencies = [("fleet", "0001_initial")]

    operations = [
        migrations.RunSQL(AUDIT, AUDIT_REVERSE),
        migrations.RunSQL(RELEASE, RELEASE_REVERSE),
        migrations.RunSQL(ARTIFACT, ARTIFACT_REVERSE),
    ]
