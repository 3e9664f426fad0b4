"""Our recording format: checksummed, compressed blocks of column batches."""
