"""Real-time predictive maintenance: from a sensor reading to an explained alert, none lost, none doubled."""
