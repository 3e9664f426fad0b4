"""Source `zmq:`: notifications that a node publishes over ZMQ."""
