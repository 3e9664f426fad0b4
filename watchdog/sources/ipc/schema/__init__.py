"""Our own schema files of Core's IPC: ids, names, ordinals, types and defaults are those of the wire."""
