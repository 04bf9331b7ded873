"""Whether Au2 lies flat on MgO(001) or stands upright, and what aluminium deep in the slab changes about it.

    python benchmarks/wetting.py

trains benchmarks/configs/aumgo.yaml on 12 frames. The gold atoms are then relaxed on the mean substrate of the training
frames, which stays as it is, from the flat and the upright training frame of lowest energy.
Writes results/wetting.json and docs/figures/wetting.png; runs/ keeps the training's state.
"""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms
from ase.optimize import BFGS
from matplotlib.figure import Figure
from rich.console import Console

from cace_qeq import CACEQEqCalculator
from cace_qeq.structures import read_frames
from cace_qeq.training import TrainConfig, load_config
from record import script, write_result
from variants.outcomes import trained

CONFIG = Path(__file__).parent / "configs" / "aumgo.yaml"
FIGURE = Path(__file__).parent.parent / "docs" / "figures" / "wetting.png"
DFT = {"pure": 935.0, "with Al": -67.0}  # meV, flat less upright; doi 10.1038/s41467-020-20427-2
ORIENTATIONS = ("flat", "upright")
FORCE = 0.02  # eV/Å, largest after relaxation


def main() -> None:
    """Train on gold on magnesium oxide, relax both orientations, and write one result and a figure."""
    config = load_config(CONFIG)
    result = {"training": trained(config), **wetting(config)}
    charges = reference_charges(config)
    draw(result, charges)
    content = {"dft_flat_less_upright_mev": DFT, "gold_charge_of_training_frames_e": charges, **result}
    Console().print(f"{write_result('wetting', content)}, {FIGURE}")


def wetting(config: TrainConfig) -> dict[str, Any]:
    """Flat less upright (meV), and where relaxation ends."""
    calculator = CACEQEqCalculator(config.training.output / "model.safetensors")
    frames = [frame for path in config.data.train for frame in read_frames(path)]
    ends = {name: {o: relaxed(start(frames, name, o), calculator) for o in ORIENTATIONS} for name in DFT}
    difference = {name: 1e3 * (end["flat"]["energy_ev"] - end["upright"]["energy_ev"]) for name, end in ends.items()}
    return {"flat_less_upright_mev": difference, "ends": ends}


def start(frames: list[Atoms], substrate: str, orientation: str) -> Atoms:
    """The frame of lowest energy on the mean substrate."""
    same = of_substrate(frames, substrate)
    best = min((f for f in same if orientation_of(f) == orientation), key=lambda frame: frame.info["REF_energy"])
    atoms = Atoms(best.numbers, best.positions, cell=best.cell, pbc=True, info={"charge": 0.0})
    below = ~(atoms.symbols == "Au")
    atoms.positions[below] = np.mean([frame.positions[below] for frame in same], axis=0)
    atoms.set_constraint(FixAtoms(mask=below))
    return atoms


def of_substrate(frames: list[Atoms], substrate: str) -> list[Atoms]:
    return [frame for frame in frames if ("Al" in frame.symbols) == (substrate == "with Al")]


def orientation_of(atoms: Atoms) -> str:
    x, y, z = bond(atoms)
    return "upright" if abs(z) > np.hypot(x, y) else "flat"


def bond(atoms: Atoms) -> np.ndarray:
    """(3,)  Å, from one gold atom to the other"""
    first, second = np.flatnonzero(atoms.symbols == "Au")
    return atoms.get_distance(first, second, mic=True, vector=True)


def relaxed(atoms: Atoms, calculator: CACEQEqCalculator) -> dict[str, Any]:
    """Energy (eV), orientation, bond length (Å) and charge (e) of the gold."""
    atoms.calc = calculator
    converged = BFGS(atoms, logfile=None, maxstep=0.05).run(fmax=FORCE, steps=200)
    charges = calculator.results.get("charges")
    return {
        "energy_ev": float(atoms.get_potential_energy()),
        "converged": bool(converged),
        "orientation": orientation_of(atoms),
        "bond_angstrom": float(np.linalg.norm(bond(atoms))),
        "gold_charge_e": None if charges is None else charges[atoms.symbols == "Au"].tolist(),
    }


def reference_charges(config: TrainConfig) -> dict[str, dict[str, float]]:
    """Mean charge of Au2 in the training frames, e, by substrate and orientation."""
    frames = [frame for path in config.data.train for frame in read_frames(path)]
    found: dict[str, dict[str, float]] = {}
    for substrate, orientation in product(DFT, ORIENTATIONS):
        chosen = [f for f in of_substrate(frames, substrate) if orientation_of(f) == orientation]
        charges = [f.arrays["REF_charges"][f.symbols == "Au"].sum() for f in chosen]
        found.setdefault(substrate, {})[orientation] = float(np.mean(charges))
    return found


def draw(result: dict[str, Any], charges: dict[str, dict[str, float]]) -> None:
    figure = Figure(figsize=(9.0, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for shift, name, values in ((-0.15, "PBE", DFT), (0.15, "model", result["flat_less_upright_mev"])):
        left.bar(np.arange(len(DFT)) + shift, list(values.values()), 0.27, label=name)
    left.set_xticks(range(len(DFT)), [f"MgO, {name}" for name in DFT])
    left.set(ylabel="flat less upright (meV)")
    left.axhline(0.0, color="k", linewidth=0.8)
    kinds = list(product(DFT, ORIENTATIONS))
    ends = result["ends"]
    right.plot([charges[s][o] for s, o in kinds], "ko", label="PBE, mean of training frames")
    right.plot([sum(ends[s][o]["gold_charge_e"]) for s, o in kinds], "C1x", label="model, relaxed")
    right.set_xticks(range(len(kinds)), [f"{o},\n{s}" for s, o in kinds])
    right.set(ylabel="charge of Au$_2$ (e)")
    for axes in (left, right):
        axes.legend(frameon=False, fontsize=8)
    figure.savefig(FIGURE, dpi=120)


if __name__ == "__main__":
    script(main)
