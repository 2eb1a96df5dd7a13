"""ZeroMQ: the publisher that the supervisor uses, and the broadcaster process for market data."""
