"""Sources that produce events by themselves: each runs beside the engine and hands batches to a bounded inbox."""
