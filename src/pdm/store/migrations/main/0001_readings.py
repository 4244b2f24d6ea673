"""Readings, their minutes, and the records that could not be stored."""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute("""
    CREATE TABLE sensor_log (
        machine_id text NOT NULL,
        timestamp timestamptz NOT NULL,
        air_temp_k double precision,
        process_temp_k double precision,
        rpm double precision,
        torque_nm double precision,
        tool_wear_min double precision,
        product_type text,
        channels jsonb,
        PRIMARY KEY (machine_id, timestamp)
    ) PARTITION BY RANGE (timestamp);
    COMMENT ON TABLE sensor_log IS 'every reading once, the first value of a (machine_id, timestamp) wins';

    CREATE TABLE sensor_minute (
        machine_id text NOT NULL,
        minute timestamptz NOT NULL,
        n bigint NOT NULL,
        air_temp_k_min double precision, air_temp_k_avg double precision, air_temp_k_max double precision,
        process_temp_k_min double precision, process_temp_k_avg double precision, process_temp_k_max double precision,
        rpm_min double precision, rpm_avg double precision, rpm_max double precision,
        torque_nm_min double precision, torque_nm_avg double precision, torque_nm_max double precision,
        tool_wear_min_min double precision, tool_wear_min_avg double precision, tool_wear_min_max double precision,
        PRIMARY KEY (machine_id, minute)
    );
    CREATE TABLE sensor_minute_due (
        machine_id text NOT NULL,
        minute timestamptz NOT NULL,
        PRIMARY KEY (minute, machine_id)
    );
    COMMENT ON TABLE sensor_minute_due IS 'minutes whose row of sensor_minute must be computed (again)';

    CREATE TABLE dead_letter (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        topic text NOT NULL,
        kafka_partition integer NOT NULL,
        kafka_offset bigint NOT NULL,
        appended_at timestamptz NOT NULL,
        received_at timestamptz NOT NULL DEFAULT now(),
        reason text NOT NULL,
        detail text NOT NULL,
        key bytea,
        value bytea,
        replayed_at timestamptz,
        UNIQUE (topic, kafka_partition, kafka_offset, appended_at)
    );
    CREATE TABLE log_gap (
        consumer_group text NOT NULL,
        topic text NOT NULL,
        kafka_partition integer NOT NULL,
        from_offset bigint NOT NULL,
        to_offset bigint NOT NULL,
        noticed_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (consumer_group, topic, kafka_partition, from_offset)
    );

    -- The ingestor makes and drops the day partitions, and only an owner may: DETACH CONCURRENTLY runs in no function.
    GRANT pdm_ingestor TO CURRENT_USER;
    GRANT CREATE ON SCHEMA public TO pdm_ingestor;
    ALTER TABLE sensor_log OWNER TO pdm_ingestor;
    GRANT SELECT, INSERT, UPDATE, DELETE ON sensor_minute, sensor_minute_due, dead_letter TO pdm_ingestor;
    GRANT SELECT, INSERT ON log_gap TO pdm_ingestor;
    GRANT SELECT ON sensor_log, sensor_minute, dead_letter, log_gap TO pdm_portal;
    GRANT SELECT ON sensor_log, sensor_minute TO pdm_inference;
    """)
