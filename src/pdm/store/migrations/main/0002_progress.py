"""Where the ingestor stands in the log, and why offsets are missing."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute("""
    CREATE TABLE ingest_progress (
        topic text NOT NULL,
        kafka_partition integer NOT NULL,
        from_offset bigint NOT NULL,
        next_offset bigint NOT NULL,
        newest_appended_at timestamptz NOT NULL,
        stored bigint NOT NULL,
        duplicates bigint NOT NULL,
        dead_letters bigint NOT NULL,
        vanished bigint NOT NULL,
        PRIMARY KEY (topic, kafka_partition)
    ) WITH (fillfactor = 50);
    COMMENT ON TABLE ingest_progress IS
        'moved with the rows: next_offset - from_offset = stored + duplicates + dead_letters + vanished';

    ALTER TABLE log_gap
        ADD COLUMN reason text NOT NULL DEFAULT 'vanished' CHECK (reason IN ('vanished', 'recreated')),
        ADD COLUMN appended_at timestamptz NOT NULL DEFAULT '-infinity',
        DROP CONSTRAINT log_gap_pkey,
        ADD PRIMARY KEY (consumer_group, topic, kafka_partition, from_offset, appended_at);
    ALTER TABLE log_gap ALTER COLUMN reason DROP DEFAULT, ALTER COLUMN appended_at DROP DEFAULT;
    COMMENT ON COLUMN log_gap.appended_at IS 'append time of the first record after the gap';

    CREATE INDEX dead_letter_received ON dead_letter (received_at);

    GRANT SELECT, INSERT, UPDATE ON ingest_progress TO pdm_ingestor;
    GRANT SELECT ON ingest_progress TO pdm_portal;
    """)
