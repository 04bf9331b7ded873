"""Dissociation of ion pairs and polarizability of chains: charge that flows freely against charge along bonds.

    python benchmarks/charge_flow.py

writes results/charge_flow.json and docs/figures/charge_flow.png. Models are untrained: electronegativity and hardness
are those of free atoms, bonds have the softness that training starts from. So numbers show laws, not materials.
"""

from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from rich.console import Console

from cace_qeq import CACEQEq, ModelConfig, predict, predict_response
from cace_qeq.plots import save
from cace_qeq.structures import to_batch
from cace_qeq.units import COULOMB
from record import script, write_result

FIGURE = Path(__file__).parent.parent / "docs" / "figures" / "charge_flow.png"
FLOWS = {"free": "plain equilibration", "bonds": "along bonds"}
PAIRS = {"NaCl": 2.36, "LiF": 1.56}  # Å, bond lengths of the gas phase
LENGTHS = {**PAIRS, "NaCl-": PAIRS["NaCl"]}
DISTANCES = np.geomspace(0.8, 20.0, 60)  # in bond lengths
CHAINS = (2, 4, 8, 16, 32, 64, 128, 256)
CARBON, HYDROGEN = 1.28, 1.06  # Å, from a carbon to its neighbours
CUTOFF = 8.0  # Å


def main() -> None:
    """Charges of ion pairs and polarizability of chains by untrained models, as one result and a figure."""
    result = {
        "dissociation": {name: {flow: dissociation(name, flow) for flow in FLOWS} for name in LENGTHS},
        "chains": {flow: chains(flow) for flow in FLOWS},
    }
    draw(result)
    Console().print(f"{write_result('charge_flow', result)}, {FIGURE}")


def untrained(atoms: Atoms, flow: str) -> CACEQEq:
    species = tuple(sorted(set(atoms.numbers.tolist())))
    return CACEQEq(ModelConfig(species=species, cutoff=CUTOFF, layers=1, channels=1, charge_flow=flow))


def dissociation(name: str, flow: str) -> dict[str, list[float]]:
    """Charge of the cation against the distance."""
    found = []
    for distance in LENGTHS[name] * DISTANCES:
        atoms = Atoms(name.removesuffix("-"), [[0, 0, 0], [0, 0, distance]])
        model = untrained(atoms, flow)
        batch = to_batch(atoms, model.geometry, -float(name.endswith("-")))
        found.append(float(predict(model, batch).charges[0]))
    return {"distance_angstrom": (LENGTHS[name] * DISTANCES).tolist(), "charge_e": found}


def chains(flow: str) -> dict[str, Any]:
    """Polarizability of linear C_nH_2 along its axis, Å³, and the exponent with which it grows at the end."""
    found = []
    for n_carbon in CHAINS:
        atoms = chain(n_carbon)
        model = untrained(atoms, flow)
        response = predict_response(model, to_batch(atoms, model.geometry, 0.0))
        found.append(COULOMB * float(response.polarizability[0, 2, 2]))
    exponent = np.log(found[-1] / found[-2]) / np.log(CHAINS[-1] / CHAINS[-2])
    return {"n_carbon": list(CHAINS), "polarizability_angstrom3": found, "exponent": float(exponent)}


def chain(n_carbon: int) -> Atoms:
    carbons = CARBON * np.arange(n_carbon)
    heights = np.concatenate([[-HYDROGEN], carbons, [carbons[-1] + HYDROGEN]])
    return Atoms(f"HC{n_carbon}H", np.stack([0 * heights, 0 * heights, heights], axis=1))


def draw(result: dict[str, Any]) -> None:
    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for (name, flows), colour in zip(result["dissociation"].items(), ("C0", "C1", "C2"), strict=True):
        for flow, style in zip(FLOWS, ("--", "-"), strict=True):
            series, label = flows[flow], f"{name}, {FLOWS[flow]}"
            left.plot(series["distance_angstrom"], series["charge_e"], style, color=colour, label=label)
    left.set(xlabel="distance (Å)", ylabel="charge of Na or Li (e)", xscale="log")
    left.set_xticks([2, 5, 10, 20, 50], labels=["2", "5", "10", "20", "50"])
    left.xaxis.set_minor_formatter(NullFormatter())
    for flow, style in zip(FLOWS, ("s--", "o-"), strict=True):
        series = result["chains"][flow]
        label = f"{FLOWS[flow]}, n^{series['exponent']:.2f}"
        right.plot(series["n_carbon"], series["polarizability_angstrom3"], style, color="C2", markersize=4, label=label)
    right.set(xlabel="carbon atoms of $C_nH_2$", ylabel="polarizability along the axis (Å³)")
    right.set(xscale="log", yscale="log")
    for axes in (left, right):
        axes.legend(frameon=False, fontsize=8)
    save(figure, FIGURE)


if __name__ == "__main__":
    script(main)
