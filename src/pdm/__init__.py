"""Real-time predictive maintenance: from a sensor reading to an explained alert, none lost, none doubled."""

from importlib.metadata import version

__version__ = version("smart-factory-pdm")
