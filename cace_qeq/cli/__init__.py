"""The command line: arguments, tables and progress bars; no physics."""

from cace_qeq.cli.main import app, main

__all__ = ["app", "main"]
