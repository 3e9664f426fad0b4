"""The vocabulary: events, columns, time, findings, plans, errors; no I/O, NumPy only."""
