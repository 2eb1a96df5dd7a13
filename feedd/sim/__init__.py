"""The simulated venue: a separate process that speaks the exchanges' wire protocols.

It shares no code with the decoder. ``feedd.sim.main`` has the command, ``feedd.sim.testing`` a
context manager for tests, ``feedd.sim.journal`` the format of the record of what was sent.
"""
