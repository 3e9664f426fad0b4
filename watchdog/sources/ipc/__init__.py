"""Core's IPC as a source: the service's side here, and in child/ the process that speaks to the node."""
