"""What the database itself refuses: changing or removing a transition, a signature, a look or a piece of evidence."""

from django.db import migrations

TABLES = ("lanetransition", "approval", "look", "evidence")

FUNCTION = """
CREATE FUNCTION rollouts_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'integrity_constraint_violation';
END $$;
"""
TRIGGERS = "".join(
    f"""
CREATE TRIGGER {table}_rows_stay BEFORE UPDATE OR DELETE ON rollouts_{table}
    FOR EACH ROW EXECUTE FUNCTION rollouts_refuse_change();
CREATE TRIGGER {table}_table_stays BEFORE TRUNCATE ON rollouts_{table}
    FOR EACH STATEMENT EXECUTE FUNCTION rollouts_refuse_change();
"""
    for table in TABLES
)
REVERSE = "".join(
    f"DROP TRIGGER {table}_rows_stay ON rollouts_{table}; DROP TRIGGER {table}_table_stays ON rollouts_{table};"
    for table in TABLES
)


class Migration(migrations.Migration):
    """Triggers on the rows that a decision rests on."""

    dependencies = [("rollouts", "0001_initial")]

    operations = [migrations.RunSQL(FUNCTION + TRIGGERS, REVERSE + "DROP FUNCTION rollouts_refuse_change();")]
