"""The measures of a window: one protocol, a file for each measure, and the registry."""
