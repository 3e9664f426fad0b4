"""Detects the nodes of this machine and reports which of their interfaces the watchdog can use; writes nothing."""
