"""Numbers in event time: slots, windows, pairs, baselines."""
