"""The inference role: windows, rules and a model decide; one transaction writes the episode and its outbox row."""
