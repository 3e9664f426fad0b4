"""The configuration of the service: keys, reading, checking, secrets."""
