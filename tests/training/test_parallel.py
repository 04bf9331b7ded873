import pytest
import torch

from cace_qeq.checkpoint import read
from cace_qeq.training import fit
from small_runs import small_config, trimers


def test_two_processes_train_the_same_model_as_one(tmp_path):
    """They share each batch, so that only the order of sums differs. Soap turns such differences into other axes
    where it has seen no gradient yet.
    """
    trimers(tmp_path)
    one = fit(small_config(tmp_path, "one", epochs=2, optimizer="adamw"))
    two = fit(small_config(tmp_path, "two", epochs=2, optimizer="adamw", processes=2))
    for first, second in zip(one.history, two.history, strict=True):
        assert first["train_loss"] == pytest.approx(second["train_loss"], rel=1e-9)
        assert first["valid_loss"] == pytest.approx(second["valid_loss"], rel=1e-9)
    first, second = (read(outcome.folder.model)[1] for outcome in (one, two))
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=1e-7, atol=1e-9)
