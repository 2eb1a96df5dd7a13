"""Captures: recorded sessions, and the decoder that turns them into normalised records."""
