"""The audit: does every acknowledged reading, episode, event and feature stand where it must, once? It only reads.

Shared by `pdm doctor --deep` and the fault tests. `survey` holds the order of its looks; the rest is pure.
"""

from pdm.audit.findings import Audit, Finding, Scope, Sent, Trouble
from pdm.audit.survey import audit

__all__ = ["Audit", "Finding", "Scope", "Sent", "Trouble", "audit"]
