"""The ingestor role: every reading from the log into PostgreSQL once, every bad record set aside with its reason."""
