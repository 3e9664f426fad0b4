"""The child process that speaks Cap'n Proto to a node; `python -m watchdog.sources.ipc.child` starts it. No NumPy."""
