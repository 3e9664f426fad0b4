"""From messages with payloads to events `p2p:`: the decoders and the memory of conversations behind them."""
