"""Messages of a node: counted by type and by peer, and the latest of a peer while it is looked at."""
