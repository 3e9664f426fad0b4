"""debug.log: what the node itself reports."""
