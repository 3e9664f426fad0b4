"""Sources to engine to incidents: one path for replay and service."""
