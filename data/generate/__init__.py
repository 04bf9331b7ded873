"""How the reference sets are made: `cd data && python -m generate ag3`."""
