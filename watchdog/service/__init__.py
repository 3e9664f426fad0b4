"""Wire sources, engine and incidents together."""
