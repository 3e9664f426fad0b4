"""The event catalogue as Cap'n Proto schema, and the tool that makes the table from it."""
