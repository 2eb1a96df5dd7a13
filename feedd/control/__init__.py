"""The control socket's protocol, its client and ``feedd ctl``."""
