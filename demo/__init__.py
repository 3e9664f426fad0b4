"""The demo: what the shipped rules say of a recorded node under attack."""
