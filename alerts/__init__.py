"""Incidents, cases (`alerts.cases`, `alerts.case`), decisions, store and delivery."""
