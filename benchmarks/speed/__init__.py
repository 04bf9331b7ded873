"""The parts of the throughput benchmark: what is measured, on what, by whom, and what was hoped for."""
