import math

import pytest
import torch

from cace_qeq.nn.charges import (
    Electronegativity,
    ElementHardness,
    EnvironmentHardness,
    FixedHardness,
    FixedWidths,
    LearnedWidths,
    covalent_widths,
    initial_stiffness,
)
from cace_qeq.nn.elements import chemical_hardness, mulliken_electronegativity
from cace_qeq.units import COULOMB

SPECIES = [1, 11, 17]
WIDTHS = covalent_widths(SPECIES)
ATOMS = torch.tensor([0, 1, 2, 1])


def test_free_atoms_keep_their_hardness_where_their_width_allows():
    hardness = ElementHardness(SPECIES, WIDTHS)(torch.zeros(4, 5), ATOMS)
    chlorine = hardness[2] + COULOMB / (math.sqrt(math.pi) * WIDTHS[2])
    assert chlorine.item() == pytest.approx(chemical_hardness(17), abs=1e-5)  # parameters are single precision
    assert hardness[0].item() == pytest.approx(1.0, abs=1e-6)


def test_a_fixed_hardness_is_where_the_learned_one_starts_and_has_no_parameters():
    fixed, learned = FixedHardness(SPECIES, WIDTHS), ElementHardness(SPECIES, WIDTHS)
    assert torch.equal(fixed(torch.zeros(4, 5), ATOMS), learned(torch.zeros(4, 5), ATOMS))
    assert not list(fixed.parameters())
    assert fixed.state_dict().keys() == learned.state_dict().keys()


def test_hardness_stays_positive_whatever_the_parameters():
    module = EnvironmentHardness(SPECIES, WIDTHS, 5, [4])
    for parameter in module.parameters():
        parameter.data.fill_(-30.0)
    assert (module(-1e3 * torch.ones(4, 5), ATOMS) > 0).all()


def test_environment_changes_hardness_by_at_most_half():
    module = EnvironmentHardness(SPECIES, WIDTHS, 5, [4])
    plain = ElementHardness.forward(module, torch.zeros(4, 5), ATOMS)
    with torch.no_grad():
        module.environment.linear.weight.fill_(100.0)
    ratio = module(torch.ones(4, 5), ATOMS) / plain
    assert torch.allclose(ratio, torch.full_like(ratio, 1.5))


def test_learned_widths_start_at_the_tabulated_ones_and_stay_within_a_factor_of_two():
    fixed, learned = FixedWidths(WIDTHS), LearnedWidths(WIDTHS)
    assert torch.equal(fixed(ATOMS), learned(ATOMS))
    with torch.no_grad():
        learned.raw.fill_(50.0)
    assert torch.allclose(learned(ATOMS), 2 * fixed(ATOMS))


def test_electronegativity_starts_at_the_free_atoms_and_follows_the_environment():
    stiffness = [initial_stiffness(z, width) for z, width in zip(SPECIES, WIDTHS, strict=True)]
    head = Electronegativity(SPECIES, stiffness, 5, [4])
    own = torch.tensor(stiffness, dtype=torch.float64)[ATOMS]
    start = head(torch.ones(4, 5), ATOMS, own)
    assert start.dtype == torch.float64
    assert start.tolist() == pytest.approx([mulliken_electronegativity(SPECIES[s]) for s in ATOMS], rel=1e-6)
    with torch.no_grad():
        head.environment.linear.weight.fill_(1.0)
    assert (head(torch.ones(4, 5), ATOMS, own) > start + 1).all()
