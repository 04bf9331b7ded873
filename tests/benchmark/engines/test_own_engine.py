"""What this package's own engine makes of names of models."""

import pytest

from cace_qeq.benchmark.engines.cace_qeq_engine import CACEQEqEngine
from cace_qeq.benchmark.engines.job import Job


def job(model: str, work: str) -> Job:
    return Job(model=model, dtype="float32", cutoff=4.0, symbols=("H", "O"), frames="", work=work)


@pytest.mark.parametrize("model", ["XS", "XS compiled"])
def test_compiled_is_no_other_model(model):
    engine = CACEQEqEngine()
    assert engine.load(job(model, "dynamics")) == engine.load(job("XS", "dynamics"))


def test_comparisons_train_eagerly():
    with pytest.raises(ValueError, match="XS compiled: comparisons train eagerly"):
        CACEQEqEngine().load(job("XS compiled", "fit"))
