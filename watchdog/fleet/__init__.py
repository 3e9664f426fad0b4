"""Rules over nodes: what several nodes show together, as events in the order of event time."""
