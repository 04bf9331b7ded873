"""Polarizability of chains and dissociation of ion pairs by trained models: charge that flows freely or along bonds.

    python benchmarks/trained_charge_flow.py      # needs the extra xtb

labels short chains in electric fields and ion pairs near their bond lengths with GFN1-xTB, trains
benchmarks/configs/flow_chains.yaml and flow_pairs.yaml with either flow, and asks the models for chains and distances
beyond. Chains are compared with GFN1-xTB at every length. Pairs have no reference far out, where GFN1-xTB stays with
ions, below the neutral atoms, and then does not converge. Writes results/trained_charge_flow.json and
docs/figures/trained_charge_flow.png; runs/ keeps the state of the trainings.
"""

import sys
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from rich.console import Console

from cace_qeq import CACEQEq, load_model, predict, predict_response
from cace_qeq.plots import save
from cace_qeq.structures import read_frames, to_batch
from cace_qeq.training import load_config
from cace_qeq.units import COULOMB
from charge_flow import FLOWS, PAIRS
from record import script, write_result, write_structures
from variants.changes import changed, model
from variants.outcomes import trained

if TYPE_CHECKING:
    from generate.engine import SinglePoint

sys.path.append(str(Path(__file__).parent.parent / "data"))  # where the labelling of our own sets is

CONFIGS = Path(__file__).parent / "configs"
FIGURE = Path(__file__).parent.parent / "docs" / "figures" / "trained_charge_flow.png"
FRAMES = Path("runs/flow_frames")  # where the configurations look for them
TRAINED_CHAINS = (4, 8, 12, 16)
CHAINS = (2, 4, 6, 8, 12, 16, 24, 32, 48, 64)
PER_CHAIN = 15  # frames, every fifth for validation
NOISE = 0.03  # Å
LARGEST_FIELD = 0.5  # V/Å
PROBE = 0.01  # V/Å, for finite differences
STRETCH = np.linspace(0.8, 1.5, 25)  # of trained pairs, in bond lengths, every fifth for validation
DISTANCES = np.geomspace(0.8, 10.0, 50)


def main() -> None:
    """Label chains and ion pairs, train with either flow of charge, and write one result and a figure."""
    write_frames("chains", chains_in_fields(np.random.default_rng(401)))
    write_frames("pairs", [labelled(pair(name, s)) for name, s in product(PAIRS, STRETCH)])
    result: dict[str, Any] = {"gfn1_chains": reference()}
    for flow in FLOWS:
        chains, pairs = (load_config(CONFIGS / f"flow_{name}.yaml") for name in ("chains", "pairs"))
        chains, pairs = (changed(config, flow, model(charge_flow=flow)) for config in (chains, pairs))
        result[flow] = {
            "training_chains": trained(chains),
            "training_pairs": trained(pairs),
            "polarizability_angstrom3": polarizabilities(load_model(chains.training.output / "model.safetensors")),
            "cation_charge_e": dissociation(load_model(pairs.training.output / "model.safetensors")),
        }
    draw(result)
    content = {"n_carbon": CHAINS, "trained_n_carbon": TRAINED_CHAINS, "bond_lengths": DISTANCES.tolist(), **result}
    Console().print(f"{write_result('trained_charge_flow', content)}, {FIGURE}")


def chain(n_carbon: int) -> Atoms:
    """Linear, with bonds of 1.22 and 1.36 Å in turn."""
    bonds = [1.22 if i % 2 == 0 else 1.36 for i in range(n_carbon - 1)]
    heights = np.cumsum([0.0, 1.06, *bonds, 1.06])
    return Atoms(f"HC{n_carbon}H", np.stack([0 * heights, 0 * heights, heights], axis=1))


def pair(name: str, stretch: float) -> Atoms:
    return Atoms(name, [[0, 0, 0], [0, 0, stretch * PAIRS[name]]])


def chains_in_fields(generator: np.random.Generator) -> list[Atoms]:
    """Each a little distorted, in an axial field of its own."""
    found = []
    for n_carbon, _ in product(TRAINED_CHAINS, range(PER_CHAIN)):
        atoms = chain(n_carbon)
        atoms.positions += generator.normal(0.0, NOISE, (len(atoms), 3))
        found.append(labelled(atoms, generator.uniform(-LARGEST_FIELD, LARGEST_FIELD)))
    return found


def labelled(atoms: Atoms, axial_field: float = 0.0) -> Atoms:
    """With GFN1-xTB charges, and energies and forces where there is no field."""
    labels = in_field(atoms, axial_field)
    atoms.arrays["REF_charges"] = labels.charges
    atoms.info |= {"total_charge": 0.0, "electric_field": np.array([0.0, 0.0, axial_field])}
    if axial_field == 0:
        atoms.info["REF_energy"], atoms.arrays["REF_forces"] = labels.energy, labels.forces
    return atoms


def in_field(atoms: Atoms, axial_field: float) -> "SinglePoint":
    """GFN1-xTB of neutral atoms; raises ValueError without it."""
    try:
        from generate.engine import ChargeState, single_point
    except ImportError as error:
        raise ValueError(f"{error}; labels need the extra xtb: pip install cace_qeq[xtb].") from None
    return single_point(atoms, ChargeState(0), [0.0, 0.0, axial_field])


def write_frames(name: str, frames: list[Atoms]) -> None:
    """Once, as trainings are resumed only on the same files."""
    for part, remainders in (("train", (0, 1, 3, 4)), ("valid", (2,))):
        path = FRAMES / f"{name}_{part}.extxyz"
        if not path.exists():
            chosen = [frame for index, frame in enumerate(frames) if index % 5 in remainders]
            write_structures(path, chosen)


def reference() -> dict[str, list[float]]:
    """Axial polarizabilities of GFN1-xTB, Å³: of its atomic charges, and with the atoms' own dipoles."""
    found: dict[str, list[float]] = {"of_charges": [], "all": []}
    for atoms in map(chain, CHAINS):
        up, down = (in_field(atoms, field) for field in (PROBE, -PROBE))
        assert up.dipole is not None and down.dipole is not None
        by_charges = (up.charges - down.charges) @ atoms.positions[:, 2]
        found["of_charges"].append(float(COULOMB * by_charges / (2 * PROBE)))
        found["all"].append(float(COULOMB * (up.dipole - down.dipole)[2] / (2 * PROBE)))
    return found


def polarizabilities(potential: CACEQEq) -> list[float]:
    """Å³, along the axis"""
    batches = [to_batch(chain(n_carbon), potential.geometry, 0.0) for n_carbon in CHAINS]
    return [float(COULOMB * predict_response(potential, batch).polarizability[0, 2, 2]) for batch in batches]


def dissociation(potential: CACEQEq) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in PAIRS}
    for name, distance in product(PAIRS, DISTANCES):
        batch = to_batch(pair(name, distance), potential.geometry, 0.0)
        found[name].append(float(predict(potential, batch).charges[0]))
    return found


def draw(result: dict[str, Any]) -> None:
    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    draw_pairs(left, result)
    right.plot(CHAINS, result["gfn1_chains"]["of_charges"], "k.", label="GFN1-xTB")
    for flow, style in zip(FLOWS, ("s--", "o-"), strict=True):
        right.plot(CHAINS, result[flow]["polarizability_angstrom3"], style, markersize=4, label=FLOWS[flow])
    right.axvspan(min(TRAINED_CHAINS), max(TRAINED_CHAINS), color="0.9", label="trained on")
    right.set(xlabel="carbon atoms of $C_nH_2$", ylabel="polarizability along the axis (Å³)")
    right.set(xscale="log", yscale="log")
    for axes in (left, right):
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.legend(frameon=False, fontsize=8)
    save(figure, FIGURE)


def draw_pairs(axes: Axes, result: dict[str, Any]) -> None:
    frames = [frame for part in ("train", "valid") for frame in read_frames(FRAMES / f"pairs_{part}.extxyz")]
    for (name, length), colour in zip(PAIRS.items(), ("C0", "C1"), strict=True):
        for flow, style in zip(FLOWS, ("--", "-"), strict=True):
            charges = result[flow]["cation_charge_e"][name]
            axes.plot(length * DISTANCES, charges, style, color=colour, label=f"{name}, {FLOWS[flow]}")
        own = [frame for frame in frames if frame.symbols[0] == name[:2]]
        points = [(frame.positions[1, 2], frame.arrays["REF_charges"][0]) for frame in own]
        axes.plot(*np.transpose(points), ".", color=colour, markersize=3)
    axes.set(xlabel="distance (Å)", ylabel="charge of the cation (e)", xscale="log")


if __name__ == "__main__":
    script(main)
