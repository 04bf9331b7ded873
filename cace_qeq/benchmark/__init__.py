"""This model beside spherical ones: the same frames, split, cutoff, seeds, loss, schedule and CPU seconds.

How models are trained is said in `engines.fitting`; learning rates and weights stand in `runs` and in every result.
"""

from cace_qeq.benchmark.comparison import Comparison
from cace_qeq.benchmark.datasets import SETS, dataset, state
from cace_qeq.benchmark.environments import RELEASES, check_environment, make_environment
from cace_qeq.benchmark.figures import draw
from cace_qeq.benchmark.frozen import UNITS, DataSet
from cace_qeq.benchmark.report import HEAD, UNKNOWN, markdown, table
from cace_qeq.benchmark.runs import BATCH, CUTOFF, OPTIMIZERS, Finished, Run, finished
from cace_qeq.benchmark.workers import OWN, WorkerError, interpreters_of

__all__ = [
    "BATCH",
    "CUTOFF",
    "HEAD",
    "OPTIMIZERS",
    "OWN",
    "RELEASES",
    "SETS",
    "UNITS",
    "UNKNOWN",
    "Comparison",
    "DataSet",
    "Finished",
    "Run",
    "WorkerError",
    "check_environment",
    "dataset",
    "draw",
    "finished",
    "interpreters_of",
    "make_environment",
    "markdown",
    "state",
    "table",
]
