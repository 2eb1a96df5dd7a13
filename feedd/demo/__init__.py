"""``feedd demo``: the main job on a simulated venue, checked against the venue's own journal."""
