"""Reads a node's tracepoints: the binary's ELF notes, the table of Core's tracepoints, and the extractor."""
