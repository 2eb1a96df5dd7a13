"""``python -m feedd.sim``."""

from feedd.sim.main import sim

if __name__ == "__main__":
    sim(prog_name="feedd sim")
