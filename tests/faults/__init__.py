"""Faults that anyone can inject: `make faults`, or `python -m tests.faults --help`. See docs/reliability.md."""
