"""Cartesian atomic cluster expansion potentials with charge equilibration."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("cace_qeq")
except PackageNotFoundError:  # imported from a checkout that is not installed
    __version__ = "0+unknown"
