"""The JSON API and the page: what people and programs see of a running service."""
