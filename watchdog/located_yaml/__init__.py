"""YAML read with positions: nodes, problems with places and hints, values. Rules and configuration share it."""
