import pytest

from cace_qeq.training.config import TrainingConfig
from cace_qeq.training.schedule import learning_rate_factor


def factor(epochs_done, **settings):
    return learning_rate_factor(TrainingConfig(output="run", **settings), epochs_done, 100)


def test_warm_up_is_linear():
    settings = {"schedule": "constant", "warmup_epochs": 2}
    assert [factor(t, **settings) for t in (0.5, 1, 2, 50)] == pytest.approx([0.25, 0.5, 1, 1])


def test_cosine_falls_to_its_floor():
    settings = {"schedule": "cosine", "warmup_epochs": 0, "final_learning_rate": 0.1}
    assert [factor(t, **settings) for t in (0, 50, 100)] == pytest.approx([1, 0.55, 0.1])
    falling = [factor(t, **settings) for t in range(101)]
    assert falling == sorted(falling, reverse=True)


def test_no_warm_up():
    assert factor(0, schedule="plateau", warmup_epochs=0) == 1


def test_every_stage_warms_up_on_the_common_cosine():
    settings = TrainingConfig(output="run", schedule="cosine", warmup_epochs=4)
    late = [learning_rate_factor(settings, epochs, 100, stage_began=60) for epochs in (61, 62, 64, 70)]
    plain = [learning_rate_factor(settings, epochs, 100) for epochs in (61, 62, 64, 70)]
    assert late == pytest.approx([0.25 * plain[0], 0.5 * plain[1], plain[2], plain[3]])
