"""Rules and engine for programs of others: behind `bitcoin_watchdog.api`, the one public module (docs/EMBEDDING.md)."""
