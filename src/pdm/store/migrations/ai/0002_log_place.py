"""How far inference and portal have read, and why offsets are missing."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute("""
    ALTER TABLE log_gap
        ADD COLUMN reason text NOT NULL DEFAULT 'vanished' CHECK (reason IN ('vanished', 'recreated')),
        ADD COLUMN appended_at timestamptz NOT NULL DEFAULT '-infinity',
        DROP CONSTRAINT log_gap_pkey,
        ADD PRIMARY KEY (consumer_group, topic, kafka_partition, from_offset, appended_at);
    ALTER TABLE log_gap ALTER COLUMN reason DROP DEFAULT, ALTER COLUMN appended_at DROP DEFAULT;
    COMMENT ON COLUMN log_gap.appended_at IS 'append time of the first record after the gap';

    CREATE TABLE log_place (
        consumer_group text NOT NULL,
        topic text NOT NULL,
        kafka_partition integer NOT NULL,
        next_offset bigint NOT NULL,
        newest_appended_at timestamptz NOT NULL,
        PRIMARY KEY (consumer_group, topic, kafka_partition)
    ) WITH (fillfactor = 50);
    COMMENT ON TABLE log_place IS
        'seconds old: a deleted topic takes the offsets of its groups along, and its gaps must be seen all the same';

    GRANT SELECT, INSERT, UPDATE ON log_place TO pdm_inference, pdm_portal;
    GRANT INSERT ON log_gap TO pdm_portal;
    """)
