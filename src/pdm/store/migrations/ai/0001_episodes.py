"""Machines, episodes, the outbox that is the only way out, and models."""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute("""
    CREATE TABLE machine (
        machine_id text PRIMARY KEY,
        site text,
        machine_group text,
        product_type text,
        limits jsonb NOT NULL DEFAULT '{}',
        first_seen timestamptz NOT NULL DEFAULT now(),
        changed_appended_at timestamptz NOT NULL DEFAULT '-infinity',
        changed_offset bigint NOT NULL DEFAULT -1
    );
    COMMENT ON COLUMN machine.changed_offset IS
        'with changed_appended_at: log position of the reading that caused the newest transition';

    CREATE TABLE anomaly_history (
        episode_id uuid PRIMARY KEY,
        machine_id text NOT NULL REFERENCES machine,
        seq integer NOT NULL,
        failure_type text NOT NULL,
        failure_types text[] NOT NULL,
        severity text NOT NULL,
        opened_at timestamptz NOT NULL,
        detected_at timestamptz NOT NULL,
        last_seen_at timestamptz NOT NULL,
        closed_at timestamptz,
        close_reason text,
        score double precision NOT NULL,
        reading jsonb NOT NULL,
        features jsonb NOT NULL,
        reasons jsonb NOT NULL,
        model_version text,
        source text NOT NULL DEFAULT 'live' CHECK (source IN ('live', 'backfill', 'verify'))
    );
    CREATE UNIQUE INDEX anomaly_history_one_open ON anomaly_history (machine_id) WHERE closed_at IS NULL;
    CREATE INDEX anomaly_history_newest ON anomaly_history (opened_at DESC, episode_id);
    CREATE INDEX anomaly_history_of_machine ON anomaly_history (machine_id, opened_at DESC);

    CREATE TABLE outbox (
        id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        topic_name text NOT NULL CHECK (topic_name IN ('anomaly-alerts', 'cdc-probe')),
        msg_key text NOT NULL,
        message_payload text NOT NULL,
        trace_context text NOT NULL DEFAULT '',
        created_at timestamptz NOT NULL DEFAULT now()
    );
    CREATE INDEX outbox_created ON outbox (created_at);
    COMMENT ON TABLE outbox IS 'relayed to Kafka by Debezium; plain INSERT only, never COPY, never UPDATE';
    CREATE PUBLICATION pdm_outbox FOR TABLE outbox WITH (publish = 'insert');

    CREATE TABLE log_gap (
        consumer_group text NOT NULL,
        topic text NOT NULL,
        kafka_partition integer NOT NULL,
        from_offset bigint NOT NULL,
        to_offset bigint NOT NULL,
        noticed_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (consumer_group, topic, kafka_partition, from_offset)
    );

    CREATE TABLE model (
        version text PRIMARY KEY,
        created_at timestamptz NOT NULL DEFAULT now(),
        state text NOT NULL CHECK (state IN ('candidate', 'active', 'retired')),
        manifest jsonb NOT NULL,
        weights bytea NOT NULL
    );
    CREATE UNIQUE INDEX model_one_active ON model (state) WHERE state = 'active';
    CREATE TABLE training_job (
        id uuid PRIMARY KEY,
        state text NOT NULL CHECK (state IN ('queued', 'running', 'done', 'failed', 'cancelled')),
        created_at timestamptz NOT NULL DEFAULT now(),
        finished_at timestamptz,
        progress double precision NOT NULL DEFAULT 0 CHECK (progress BETWEEN 0 AND 1),
        detail text NOT NULL DEFAULT '',
        model_version text REFERENCES model
    );
    CREATE UNIQUE INDEX training_job_one_at_a_time ON training_job ((true)) WHERE state IN ('queued', 'running');

    GRANT SELECT, INSERT, UPDATE ON machine, anomaly_history, model, training_job TO pdm_inference;
    GRANT SELECT, INSERT, DELETE ON outbox TO pdm_inference;
    GRANT SELECT, INSERT ON log_gap TO pdm_inference;
    GRANT SELECT ON machine, anomaly_history, outbox, model, training_job, log_gap TO pdm_portal;
    GRANT UPDATE (site, machine_group, limits) ON machine TO pdm_portal;
    GRANT SELECT, INSERT ON outbox TO pdm_cdc;
    """)
