"""The numbers that another program computed for a molecule and a strained crystal."""

import json
from itertools import product
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cace_qeq.features import Couplings, bessel_basis, degrees, monomials, polynomial_envelope

REFERENCE = Path(__file__).parents[3] / "shared" / "reference" / "cartesian_ace_features.json"
pytestmark = pytest.mark.skipif(not REFERENCE.exists(), reason=f"no reference numbers at {REFERENCE}")


@pytest.fixture(params=["ethanol", "nacl_primitive_triclinic"])
def record(request):
    records = {record["name"]: record for record in json.loads(REFERENCE.read_text())}
    return records[request.param]


def tensor(values) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def pairs_by_brute_force(record) -> tuple[Tensor, Tensor, Tensor]:
    """Receiver, sender and r_sender - r_receiver over lattice shifts of up to three cells."""
    positions, cell = tensor(record["positions"]), tensor(record["cell"])
    reach = [range(-3, 4) if periodic else range(1) for periodic in record["pbc"]]
    shifts = tensor(list(product(*reach))) @ cell
    displacement = positions[None, :, None] + shifts - positions[:, None, None]
    distance = displacement.norm(dim=-1)
    receiver, sender, image = ((distance > 0) & (distance < record["cutoff"])).nonzero(as_tuple=True)
    return receiver, sender, displacement[receiver, sender, image]


def moments(record) -> Tensor:
    """(atom, monomial, radial, channel), this project's sign of the displacement."""
    receiver, sender, displacement = pairs_by_brute_force(record)
    distance = displacement.norm(dim=-1)
    envelope = polynomial_envelope(distance, record["cutoff"], power=record["polynomial_cutoff_p"])
    radial = bessel_basis(distance, record["cutoff"], record["n_bessel"]) * envelope[:, None]
    angular = monomials(displacement / (distance[:, None] + 1e-9), record["l_max"])
    species = [record["species"].index(number) for number in record["numbers"]]
    from_sender = tensor(record["sender_embedding"])[species]
    to_receiver = tensor(record["receiver_embedding"])[species]
    terms = torch.einsum("pn,pm,pz->pnmz", radial, angular, from_sender[sender])
    density = terms.new_zeros(len(species), *terms.shape[1:]).index_add(0, receiver, terms)
    channels = torch.einsum("anmz,ay->anmzy", density, to_receiver).flatten(-2)
    mixing = tensor(record["radial_mixing_per_l"])[list(degrees(record["l_max"]))]
    return torch.einsum("anmc,mnkc->amkc", channels, mixing)


def test_moments(record):
    # their displacement is r_receiver - r_sender
    parity = tensor([(-1) ** degree for degree in degrees(record["l_max"])])
    expected = tensor(record["A"]).transpose(1, 2)
    torch.testing.assert_close(moments(record) * parity[:, None, None], expected, rtol=1e-9, atol=1e-12)


def test_invariants(record):
    couplings = Couplings(record["l_max"], record["nu_max"], kind="paths")
    invariants = couplings(moments(record).flatten(-2))
    expected = tensor(record["B"]).transpose(1, 2)
    torch.testing.assert_close(invariants.view(expected.shape), expected, rtol=1e-9, atol=1e-12)
