import torch

from cace_qeq.nn.bonds import INITIAL_SOFTNESS, BondSoftness, ExcessCharge

SPECIES = (1, 8)


def softness_at(distances):
    """Of one pair O-H at each distance."""
    module = BondSoftness(SPECIES, cutoff=4.0)
    displacements = torch.zeros(2 * len(distances), 1, 3, dtype=torch.float64)
    displacements[:, 0, 0] = torch.repeat_interleave(torch.as_tensor(distances, dtype=torch.float64), 2)
    partners = torch.arange(2 * len(distances)).view(-1, 2).flip(1).reshape(-1, 1)
    bonds = module(displacements, partners, torch.tensor([0, 1]).repeat(len(distances)))
    return bonds.softness.view(-1, 2).sum(1)


def test_softness_dies_with_distance_and_smoothly_at_the_cutoff():
    values = softness_at([0.97, 2.0, 3.0, 3.99, 4.0, 1000.0])
    assert 0.4 * INITIAL_SOFTNESS < values[0] < 0.6 * INITIAL_SOFTNESS
    assert (values[1:] < values[:-1]).logical_or(values[1:] == 0).all()
    assert values[1] < 0.1 * INITIAL_SOFTNESS
    assert values[3] < 1e-6
    assert values[4:].tolist() == [0.0, 0.0]


def test_a_pair_of_elements_has_one_softness_whatever_its_order():
    module = BondSoftness(SPECIES, cutoff=4.0)
    torch.nn.init.normal_(module.strength)
    torch.nn.init.normal_(module.reach)
    displacements = torch.tensor([[[1.0, 0, 0]], [[-1.0, 0, 0]]], dtype=torch.float64)
    bonds = module(displacements, torch.tensor([[1], [0]]), torch.tensor([0, 1]))
    assert bonds.softness[0] == bonds.softness[1] > 0
    assert bonds.center.tolist() == [0, 1]
    assert bonds.neighbor.tolist() == [1, 0]


def test_electrons_leave_sodium_and_come_to_chlorine_before_anything_is_learned():
    module = ExcessCharge((11, 17), 3, (4,))
    shares = module(torch.randn(3, 3), torch.tensor([0, 1, 1])).softmax(0)
    assert shares[0, 0] > 0.999  # of a positive charge
    assert shares[1:, 1].sum() > 0.95  # of a negative one
    assert shares[1, 1] == shares[2, 1]


def test_the_environment_says_which_of_two_atoms_it_is():
    module = ExcessCharge((17,), 3, (4,))
    torch.nn.init.ones_(module.positive.linear.weight)
    found = module(torch.tensor([[0.0, 0, 0], [1.0, 1, 1]]), torch.tensor([0, 0]))
    assert found[0, 0] != found[1, 0]
    assert found[0, 1] == found[1, 1]
