"""The learned layer holds CACE's function: with its parameters, the layer's invariants are the published ones.

Numbers: cartesian_ace_features.json (CACE, float64, random weights), see the README beside it.
"""

import itertools
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cace_qeq.nn.ace import ACELayer, ExpansionSettings, environments

FILE = Path(__file__).parents[3] / "shared" / "reference" / "cartesian_ace_features.json"
pytestmark = pytest.mark.skipif(not FILE.exists(), reason="the shared reference numbers are not beside the repository")


def cases() -> list[dict]:
    return json.loads(FILE.read_text()) if FILE.exists() else []


def double(values: list) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def all_displacements(case: dict) -> tuple[Tensor, Tensor]:
    """Every atom to every image of every other within two cells; what lies beyond the cutoff contributes zero."""
    positions, cell = double(case["positions"]), double(case["cell"])
    reach = [range(-2, 3) if periodic else range(1) for periodic in case["pbc"]]
    shifts = double(list(itertools.product(*reach))) @ cell
    table = positions[None, :, None] + shifts - positions[:, None, None]
    beyond = double([1000.0, 0.0, 0.0])
    table = torch.where(table.norm(dim=-1, keepdim=True) < 1e-9, beyond, table)
    senders = torch.arange(len(positions))[None, :, None].expand(table.shape[:3])
    return table.flatten(1, 2), senders.flatten(1, 2)


def cace_layer(case: dict) -> ACELayer:
    """Mixing W_l[(n, s'), (k, s, r)] = δ_ss' W_l[n, k, (s, r)] and receiver factor e_r, in the layer's layout."""
    mixing, receiver = double(case["radial_mixing_per_l"]), double(case["receiver_embedding"])
    n_degrees, n_radial, n_mixed, _ = mixing.shape
    n_embedding = receiver.shape[1]
    settings = ExpansionSettings(
        len(case["species"]),
        case["cutoff"],
        n_radial,
        n_embedding,
        n_mixed * n_embedding**2,
        case["l_max"],
        case["nu_max"],
        "paths",
        "none",
    )
    layer = ACELayer(settings, (n_embedding,)).double()
    split = mixing.view(n_degrees, n_radial, n_mixed, n_embedding, n_embedding)
    full = torch.einsum("lnksr,st->lntksr", split, torch.eye(n_embedding, dtype=torch.float64))
    matrices = full.reshape(n_degrees, n_radial * n_embedding, -1)
    for weight, of_degree in zip(layer.mixings[0].weights, matrices, strict=True):
        weight.data = of_degree
    layer.receiver.data = (
        receiver[:, None, None, None, :]
        .expand(-1, n_degrees, n_mixed, n_embedding, -1)
        .reshape(len(receiver), n_degrees, -1)
    )
    return layer


@pytest.mark.parametrize("case", cases(), ids=lambda case: case["name"])
def test_layer_reproduces_cace(case):
    species = torch.tensor([case["species"].index(number) for number in case["numbers"]])
    layer = cace_layer(case)
    displacements, senders = all_displacements(case)
    settings = ExpansionSettings(1, case["cutoff"], case["n_bessel"], 1, 1, case["l_max"], 1, "paths", "none")
    around = environments(displacements, senders, settings)
    densities = [around.density(double(case["sender_embedding"])[species])]

    expected = double(case["A"])  # atom, radial, monomial, channel; its pair vectors point the other way
    parity = double([(-1.0) ** sum(exponents) for exponents in case["monomial_exponents"]])
    moments = layer.moments(densities, species).unflatten(2, (expected.shape[1], expected.shape[3]))
    # CACE adds 1e-9 Å to the length of a vector before it divides: 1e-9 of a moment
    torch.testing.assert_close(moments.transpose(1, 2) * parity[:, None], expected, rtol=1e-8, atol=1e-8)

    invariants = layer(densities, species).unflatten(1, (-1, expected.shape[1], expected.shape[3]))
    torch.testing.assert_close(invariants.transpose(1, 2), double(case["B"]), rtol=1e-8, atol=1e-8)
