"""Whether Au2 lies flat on MgO(001) or stands upright, and what aluminium deep in the slab changes about it.

    python benchmarks/wetting.py --seeds 0,1,2

trains benchmarks/configs/aumgo.yaml on 12 frames with each seed, and the same model without charges. Then gold atoms
are relaxed on the mean substrate of the training frames, which stays as it is, from the flat and the upright training
frame of lowest energy.
Writes results/wetting.json and docs/figures/wetting.png; runs/ keeps the state of the trainings.
"""

from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Annotated, Any

import numpy as np
import typer
from ase import Atoms
from ase.constraints import FixAtoms
from ase.optimize import BFGS
from matplotlib.figure import Figure
from rich.console import Console

from cace_qeq import CACEQEqCalculator
from cace_qeq.plots import save
from cace_qeq.structures import read_frames
from cace_qeq.training import TrainConfig, load_config
from record import script, write_result
from variants.changes import changed, same, seeded, without_charges
from variants.outcomes import trained

CONFIG = Path(__file__).parent / "configs" / "aumgo.yaml"
FIGURE = Path(__file__).parent.parent / "docs" / "figures" / "wetting.png"
DFT = {"pure": 935.0, "with Al": -67.0}  # meV, flat less upright; doi 10.1038/s41467-020-20427-2
ORIENTATIONS = ("flat", "upright")
FORCE = 0.02  # eV/Å, largest after relaxation
MODELS = {"with charges": same, "without charges": without_charges}

Seeds = dict[int, dict[str, Any]]  # what each finds


def main(seeds: Annotated[str, typer.Option(help="Numbers separated by commas.")] = "0,1,2") -> None:
    """Train on gold on magnesium oxide, relax both orientations, and write one result and a figure."""
    config, numbers = load_config(CONFIG), [int(seed) for seed in seeds.split(",")]
    found = {name: {seed: one(run_of(config, name, seed)) for seed in numbers} for name in MODELS}
    charges = reference_charges(config)
    draw(found, charges)
    content = {"dft_flat_less_upright_mev": DFT, "gold_charge_of_training_frames_e": charges}
    summary = {name: summarised(results) for name, results in found.items()}
    Console().print(f"{write_result('wetting', {**content, 'summary': summary, **found})}, {FIGURE}")


def run_of(config: TrainConfig, name: str, seed: int) -> TrainConfig:
    """The configuration itself for its own seed."""
    if name == "with charges" and seed == config.training.seed:
        return config
    return changed(config, f"{name.replace(' ', '_')}_seed{seed}", MODELS[name], seeded(seed))


def one(config: TrainConfig) -> dict[str, Any]:
    return {"training": trained(config), **wetting(config)}


def summarised(results: Seeds) -> dict[str, dict[str, float | None]]:
    """Mean and standard deviation over seeds of what decides, meV."""
    found = {name: [result["flat_less_upright_mev"][name] for result in results.values()] for name in DFT}
    return {n: {"mean": mean(v), "deviation": stdev(v) if len(v) > 1 else None} for n, v in found.items()}


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


def draw(found: dict[str, Seeds], charges: dict[str, dict[str, float]]) -> None:
    figure = Figure(figsize=(9.0, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    places = np.arange(len(DFT))
    left.bar(places, list(DFT.values()), 0.6, color="0.85", label="PBE")
    for shift, (name, results) in zip((-0.12, 0.12), found.items(), strict=True):
        values = [list(result["flat_less_upright_mev"].values()) for result in results.values()]
        left.plot(np.tile(places + shift, len(values)), np.ravel(values), "o", alpha=0.7, label=f"{name}, each seed")
    left.set_xticks(places, [f"MgO, {name}" for name in DFT])
    left.set(ylabel="flat less upright (meV)")
    left.axhline(0.0, color="k", linewidth=0.8)
    kinds = list(product(DFT, ORIENTATIONS))
    right.plot([charges[s][o] for s, o in kinds], "ko", label="PBE, mean of training frames")
    for result in found["with charges"].values():
        ends = result["ends"]
        right.plot([sum(ends[s][o]["gold_charge_e"]) for s, o in kinds], "C0x")
    right.plot([], [], "C0x", label="model, relaxed, each seed")
    right.set_xticks(range(len(kinds)), [f"{o},\n{s}" for s, o in kinds])
    right.set(ylabel="charge of Au$_2$ (e)")
    for axes in (left, right):
        axes.legend(frameon=False, fontsize=8)
    save(figure, FIGURE)


if __name__ == "__main__":
    script(main)
