"""The numbers of our advisory locks, all in one place: two uses of one number would wait for each other."""

SCHEMA = 7_261_001  # held while `pdm setup` changes a database
MAKE_PARTITIONS = 7_261_002
DROP_PARTITIONS = 7_261_003
EVENT_LOG = 7_261_004  # writers of portal.event_log, so that ids commit in order
TRAINING = 7_261_005  # held for minutes by the process that trains, so that its death is seen at once
RELAY_CARE = 7_261_006  # held by the one guard that acts on the relay, while it acts
