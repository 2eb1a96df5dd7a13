"""The consumer's side: attach to a daemon's shared memory and read it with NumPy.

It imports no network code and never writes to the daemon's memory; see ``feedd.attach``.
"""
