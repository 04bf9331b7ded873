"""The parts of the comparison with spherical models: what is run, and what is made of the results."""
