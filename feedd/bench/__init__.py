"""``feedd bench``: own speed on this machine, each figure beside a floor of the same run."""
