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


def test_compiled_networks_with_charges_are_not_trained():
    with pytest.raises(ValueError, match="for models with energy: none"):
        CACEQEqEngine().load(job("XS equilibrated compiled", "fit"))
