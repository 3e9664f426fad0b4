"""Jobs over finite input: replay, evaluate, record, export."""
