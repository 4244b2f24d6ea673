"""The metrics of every role, declared in one place. No label is unbounded: a machine's id is never one."""

from prometheus_client import Counter, Gauge, Histogram

_LATENCY_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

READINGS = Counter("pdm_readings", "Readings by role and outcome", ["role", "outcome"])
DEAD_LETTERS = Counter("pdm_dead_letters", "Records set aside, by reason", ["reason"])
DEAD_LETTER_BODY_BYTES = Gauge("pdm_dead_letter_body_bytes", "Keys and values kept in dead_letter, when last counted")
BATCH_SECONDS = Histogram("pdm_batch_seconds", "Time to handle one batch", ["role"], buckets=_LATENCY_S)
BATCH_FAILURES = Counter("pdm_batch_failures", "Batches that failed and were rewound", ["role"])
CONSUMER_LAG = Gauge("pdm_consumer_lag_records", "Records not yet handled", ["role", "partition"])
DATA_AGE = Gauge("pdm_data_age_seconds", "Age (append time) of the newest record handled", ["role"])
LOG_GAPS = Counter(
    "pdm_log_gap_records",
    "Offsets that vanished before they were read; a recreated topic counts as one",
    ["role", "partition"],
)
INGEST_GAP = Gauge(
    "pdm_ingest_gap_records",
    "Offsets passed without a row that tells what became of them; 0 when all is well",
    ["partition"],
)
PARTITIONS_AHEAD = Gauge("pdm_partitions_ahead_days", "Days after today (UTC) that sensor_log has partitions for")
PROBE_AGE = Gauge("pdm_relay_probe_age_seconds", "Age of the newest probe that came through the relay")
SLOT_BEHIND = Gauge("pdm_relay_slot_behind_bytes", "Write-ahead log that the relay has not confirmed yet")
SLOT_STATUS = Gauge("pdm_relay_slot_status", "1 for the wal_status of the relay's slot now", ["status"])
CONNECTOR_STATE = Gauge("pdm_relay_connector_state", "1 for the state of the relay's connector now", ["state"])
RELAY_ACTIONS = Counter("pdm_relay_actions", "What the guards did to mend the relay", ["action"])
UNRELAYED = Gauge("pdm_outbox_unrelayed", "Outbox rows that the relay skipped: later ones came through, these did not")
TRANSITIONS = Counter("pdm_episode_transitions", "Episode transitions written", ["event", "failure_type"])
TRANSITIONS_SKIPPED = Counter("pdm_episode_transitions_skipped", "Transitions that the database already had or refused")
DETECT_SECONDS = Histogram(
    "pdm_detect_seconds", "Append of a deciding reading to its committed transition", buckets=_LATENCY_S
)
FEATURE_WRITE_FAILURES = Counter(
    "pdm_feature_write_failures", "Writes to the feature store that failed and wait for the next batch"
)
MODEL_LOADED = Gauge("pdm_model_loaded", "1 while a model scores beside the rules, 0 while rules alone decide")
ALERT_EVENTS = Counter("pdm_alert_events", "Alert events taken in by the portal, by outcome", ["outcome"])
NOTIFICATIONS = Counter("pdm_notifications", "Notifications, by channel and outcome", ["channel", "outcome"])
ALERT_SECONDS = Histogram(
    "pdm_alert_seconds", "Append of the deciding reading to the event stored at the portal", buckets=_LATENCY_S
)
SIMULATED_READINGS = Counter("pdm_simulated_readings", "Readings that Kafka acknowledged to the simulator")
SIMULATED_MACHINES = Gauge("pdm_simulated_machines", "Machines being simulated now")
BACKGROUND_FAILURES = Counter(
    "pdm_background_failures", "Turns of a background task that failed and will be tried again", ["role", "task"]
)
BACKGROUND_LAST_SUCCESS = Gauge(
    "pdm_background_last_success_timestamp_seconds", "When a background task last ended a turn well", ["role", "task"]
)
