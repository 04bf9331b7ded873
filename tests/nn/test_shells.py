"""Walls of the elements."""

import torch

from cace_qeq.nn.heads import Readout
from cace_qeq.nn.shells import INITIAL_CHARGE, INITIAL_SOFTNESS, INITIAL_STIFFNESS, ShellWalls

ATOMS = torch.tensor([0, 1, 1])


def test_walls_start_one_electron_away_whatever_the_environment():
    torch.manual_seed(0)
    walls = ShellWalls(2, 5, [4])(torch.randn(3, 5), ATOMS)
    torch.testing.assert_close(walls.lower, torch.full((3,), -INITIAL_CHARGE, dtype=torch.float64))
    torch.testing.assert_close(walls.upper, torch.full((3,), INITIAL_CHARGE, dtype=torch.float64))
    # parameters are single precision
    torch.testing.assert_close(walls.stiffness, torch.full((3, 2), INITIAL_STIFFNESS).double(), rtol=1e-6, atol=0)
    torch.testing.assert_close(walls.softness, torch.full((3,), INITIAL_SOFTNESS).double(), rtol=1e-6, atol=0)


def test_the_environment_moves_walls():
    torch.manual_seed(0)
    module = ShellWalls(2, 5, [4])
    for readout in (part for part in module.children() if isinstance(part, Readout)):
        torch.nn.init.normal_(readout.linear.weight)
    near, far = module(torch.zeros(3, 5), ATOMS), module(torch.ones(3, 5), ATOMS)
    assert (near.lower != far.lower).all() and (near.upper != far.upper).all()


def test_stiffness_and_softness_stay_positive_whatever_the_parameters():
    module = ShellWalls(2, 5, [4])
    for parameter in module.parameters():
        parameter.data.fill_(-20.0)
    walls = module(torch.ones(3, 5), ATOMS)
    assert (walls.stiffness > 0).all() and (walls.softness > 0).all()


def test_each_wall_has_its_own_environment():
    for moving, still in (("upper", "lower"), ("lower", "upper")):
        module = ShellWalls(2, 5, [4])
        torch.nn.init.ones_(getattr(module, moving).linear.weight)
        near, far = (module(size * torch.ones(3, 5), ATOMS) for size in (0.0, 1.0))
        assert (getattr(near, still) == getattr(far, still)).all()
        assert (getattr(near, moving) != getattr(far, moving)).all()
