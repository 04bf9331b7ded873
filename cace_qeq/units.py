"""Units everywhere are eV, Å and e."""

COULOMB = 14.3996454784255
"""e² / (4 π ε₀) in eV Å / e² (CODATA 2014)."""
