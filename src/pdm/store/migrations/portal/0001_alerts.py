"""The portal's own schema: inbox, alerts, notifications, and the log that live pages resume from."""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute("""
    CREATE TABLE portal.inbox (
        event_id uuid PRIMARY KEY,
        received_at timestamptz NOT NULL DEFAULT now()
    );
    COMMENT ON TABLE portal.inbox IS 'header id of every alert event taken in: a second delivery changes nothing';

    CREATE TABLE portal.alert (
        episode_id uuid PRIMARY KEY,
        seq integer NOT NULL,
        machine_id text NOT NULL,
        event text NOT NULL,
        failure_type text NOT NULL,
        failure_types text[] NOT NULL,
        severity text NOT NULL,
        is_active boolean NOT NULL,
        score double precision NOT NULL,
        reasons jsonb NOT NULL,
        model_version text,
        observed_at timestamptz NOT NULL,
        appended_at timestamptz NOT NULL,
        detected_at timestamptz NOT NULL,
        received_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now()
    );
    COMMENT ON COLUMN portal.alert.observed_at IS 'time of the reading that caused the newest transition';
    CREATE INDEX alert_active ON portal.alert (machine_id) WHERE is_active;

    CREATE TABLE portal.notification (
        event_id uuid NOT NULL,
        channel text NOT NULL,
        episode_id uuid NOT NULL,
        message text NOT NULL,
        state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'sent', 'dropped', 'failed')),
        attempts integer NOT NULL DEFAULT 0,
        next_attempt_at timestamptz NOT NULL DEFAULT now(),
        leased_until timestamptz,
        created_at timestamptz NOT NULL DEFAULT now(),
        sent_at timestamptz,
        last_error text,
        PRIMARY KEY (event_id, channel)
    );
    CREATE INDEX notification_pending ON portal.notification (next_attempt_at) WHERE state = 'pending';

    CREATE TABLE portal.event_log (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        kind text NOT NULL,
        payload jsonb NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now()
    );
    CREATE INDEX event_log_created ON portal.event_log (created_at);

    GRANT USAGE ON SCHEMA portal TO pdm_portal;
    GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA portal TO pdm_portal;
    """)
