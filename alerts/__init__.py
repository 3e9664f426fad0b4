"""Incidents: their life and their fingerprints."""
