"""One model, two total charges, two geometries: the whole package in a few minutes on shipped data."""

from cace_qeq.quickstart.plan import Plan
from cace_qeq.quickstart.results import Results, metrics
from cace_qeq.quickstart.run import REPORT, Narrator, quickstart

__all__ = ["REPORT", "Narrator", "Plan", "Results", "metrics", "quickstart"]
