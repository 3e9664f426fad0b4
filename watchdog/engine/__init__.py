"""Move batches through compiled rules in event time; checkpoints."""
