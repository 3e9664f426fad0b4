"""The history in SQL: incidents, their changes, the outbox and operators' actions."""
