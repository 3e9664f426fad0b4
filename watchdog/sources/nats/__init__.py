"""Sources `nats:` and `peer-observer:`: events that peer-observer publishes, and its archives of them."""
