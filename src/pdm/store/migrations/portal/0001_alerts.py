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
    CREATE INDEX inbox_received ON portal.inbox (received_at);
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
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        event_id uuid NOT NULL,
        channel text NOT NULL,
        episode_id uuid NOT NULL,
        seq integer NOT NULL,
        event jsonb NOT NULL,
        state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'sent', 'dropped', 'failed')),
        attempts integer NOT NULL DEFAULT 0,
        next_attempt_at timestamptz NOT NULL DEFAULT now(),
        created_at timestamptz NOT NULL DEFAULT now(),
        settled_at timestamptz,
        message text,
        detail text,
        UNIQUE (event_id, channel)
    );
    CREATE INDEX notification_pending ON portal.notification (next_attempt_at) WHERE state = 'pending';
    CREATE INDEX notification_of_episode ON portal.notification (episode_id, seq);
    CREATE INDEX notification_settled ON portal.notification (settled_at) WHERE state <> 'pending';
    COMMENT ON COLUMN portal.notification.next_attempt_at IS
        'a claim moves it ahead by the lease, so that a killed sender''s row comes back by itself';
    COMMENT ON COLUMN portal.notification.attempts IS 'counted at each claim; who settles must hold its number';

    CREATE TABLE portal.event_log (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        kind text NOT NULL,
        payload jsonb NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now()
    );
    CREATE INDEX event_log_created ON portal.event_log (created_at);
    COMMENT ON TABLE portal.event_log IS 'what pages follow; writers hold one advisory lock, so ids commit in order';

    GRANT USAGE ON SCHEMA portal TO pdm_portal;
    GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA portal TO pdm_portal;
    """)
