"""`watchdog top`: a node and its peers on one screen."""
