"""What the relay's guard is at, and the one right that it lacks: to drop a lost slot."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute("""
    CREATE TABLE portal.relay_care (
        only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
        resend_reason text,
        is_stopped_by_us boolean NOT NULL DEFAULT false,
        action text,
        trouble text,
        attempts integer NOT NULL DEFAULT 0,
        acted_at timestamptz,
        next_at timestamptz
    );
    COMMENT ON COLUMN portal.relay_care.resend_reason IS
        'why every row of the outbox must be sent again; null: none need';
    COMMENT ON COLUMN portal.relay_care.is_stopped_by_us IS
        'set before a re-send stops the connector until it is resumed: a stop without it was a person''s';
    INSERT INTO portal.relay_care DEFAULT VALUES;
    GRANT SELECT, UPDATE ON portal.relay_care TO pdm_portal;

    CREATE FUNCTION portal.drop_lost_slot(name text) RETURNS boolean LANGUAGE sql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
        SELECT count(pg_drop_replication_slot(slot_name)) > 0 FROM pg_replication_slots
        WHERE slot_name = name AND slot_name = 'pdm_outbox' AND wal_status = 'lost' AND NOT active
          AND database = current_database()
    $$;
    COMMENT ON FUNCTION portal.drop_lost_slot IS
        'lets the portal drop the relay''s slot once it is useless, without the right to read the write-ahead log';
    REVOKE ALL ON FUNCTION portal.drop_lost_slot FROM PUBLIC;
    GRANT EXECUTE ON FUNCTION portal.drop_lost_slot TO pdm_portal;
    """)
