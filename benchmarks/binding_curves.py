"""Binding curves of dimers of charged, polar and apolar molecules, beyond the distances that a model was trained on.

    python benchmarks/binding_curves.py --seeds 1,2 [--test FILE]

trains benchmarks/configs/lode_dimers.yaml without the three longest training distances of each dimer, reports errors
at these, and draws curves up to 15 Å. With the official test frames it also trains on all training distances and
reports errors on them. Writes results/binding_curves.json and docs/figures/binding_curves.png; runs/ keeps the state of
the trainings.

Two things about the set. The calculations were periodic: in vacuum the force between the ions would fall below 0.9 of
Coulomb's law at 12 Å and their interaction energy would turn positive; a cubic cell of 30 Å explains both. So that is
where structures are put back. And where the file's charges would give monomers odd numbers of electrons, they stand in
the wrong order.
"""

from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from ase import Atoms
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console

from cace_qeq import CACEQEq, load_model, predict
from cace_qeq.benchmark import dataset
from cace_qeq.plots import save
from cace_qeq.structures import collate, read_frames, to_batch
from cace_qeq.training import TrainConfig, load_config
from cace_qeq.units import COULOMB
from record import DATA, script, write_result, write_structures
from variants.changes import Change, Values, changed, same, seeded, without_charges
from variants.outcomes import trained

CONFIG = Path(__file__).parent / "configs" / "lode_dimers.yaml"
FIGURE = Path(__file__).parent.parent / "docs" / "figures" / "binding_curves.png"
FRAMES = Path("runs/lode_frames")  # where the configuration looks for them
BOX = dataset("lode_dimers").box
LONGEST = 15.0  # Å, where the next image is as near
HELD_OUT = 3  # distances of each dimer
CHARGED = ("CC", "CP", "CA")  # labels of the dimers with an ion: charged, polar, apolar


def main(
    seeds: Annotated[str, typer.Option(help="Of every model.")] = "1",
    test: Annotated[Path | None, typer.Option(help="The official test frames, labelled as the training file.")] = None,
    data: Annotated[Path, typer.Option(help="Folder of the downloaded sets.")] = DATA,
) -> None:
    """Train, evaluate, draw."""
    parts = {part: monomers(dataset("lode_dimers").paths(part, data)) for part in ("train", "valid")}
    parts["near"], parts["far"] = by_distance(parts["train"])
    parts["alone"] = alone(parts["train"])
    if test is not None:
        parts["test"] = monomers([test])
    write_frames(parts)
    base = load_config(CONFIG)
    result: dict[str, list[dict[str, Any]]] = {}
    for (name, change), seed in product(VARIANTS.items(), map(int, seeds.split(","))):
        result.setdefault(name, []).append(outcome(base, f"{name}_seed{seed}", parts, change, seeded(seed)))
    draw({name: runs[0]["curves"] for name, runs in result.items()}, parts)
    content = {"box_angstrom": BOX, "coulomb_ratio_of_cc": coulomb_ratios(parts["train"]), "models": result}
    Console().print(f"{write_result('binding_curves', content)}, {FIGURE}")


def total_charge_alone(values: Values) -> Values:
    """Nobody says which monomer carries it."""
    return on_files(values, "monomers", "dimers")


def all_distances(values: Values) -> Values:
    return on_files(values, "near", "train")


def on_files(values: Values, old: str, new: str) -> Values:
    found = same(values)
    for part in ("train", "valid"):
        found["data"][part] = [path.replace(old, new) for path in found["data"][part]]
    return found


VARIANTS: dict[str, Change] = {
    "charge of each monomer": same,
    "total charge": total_charge_alone,
    "no charges": without_charges,
}


def monomers(paths: Iterable[Path]) -> list[Atoms]:
    """Frames in the cell of the calculation, with the charge of each monomer."""
    return [in_box(frame) for path in paths for frame in read_frames(path)]


def in_box(frame: Atoms) -> Atoms:
    """With the charges in the order that gives both monomers closed shells.

    raises  ValueError where neither order does
    """
    atoms = frame.copy()
    atoms.cell, atoms.pbc = [BOX] * 3, True
    second = np.arange(len(atoms)) >= atoms.info["indexB"]
    for charges in ([atoms.info["chargeA"], atoms.info["chargeB"]], [atoms.info["chargeB"], atoms.info["chargeA"]]):
        electrons = [atoms.numbers[~second].sum() - charges[0], atoms.numbers[second].sum() - charges[1]]
        if not any(number % 2 for number in electrons):
            atoms.arrays["charge_fragment"] = second.astype(int)
            atoms.info["fragment_charges"] = np.array(charges, dtype=float)
            return atoms
    raise ValueError(f"{frame.info}: no order of the charges gives both monomers an even number of electrons")


def by_distance(frames: Sequence[Atoms]) -> tuple[list[Atoms], list[Atoms]]:
    """Those at short distances, and the longest of each dimer."""
    near, far = list[Atoms](), list[Atoms]()
    for label in sorted({frame.info["label"] for frame in frames}):
        found = of_dimer(frames, label)
        near += found[:-HELD_OUT]
        far += found[-HELD_OUT:]
    return near, far


def alone(frames: Sequence[Atoms]) -> list[Atoms]:
    """Both monomers of each dimer by themselves in the cell, where their interaction energy is zero; no forces."""
    found = []
    for label in sorted({frame.info["label"] for frame in frames}):
        dimer = of_dimer(frames, label)[0]
        for number, charge in enumerate(dimer.info["fragment_charges"]):
            chosen = dimer[dimer.arrays["charge_fragment"] == number]
            atoms = Atoms(chosen.numbers, chosen.positions, cell=dimer.cell, pbc=True)
            atoms.arrays["charge_fragment"] = np.zeros(len(atoms), dtype=int)
            atoms.info = {"E_inter": 0.0, "total_charge": charge, "fragment_charges": np.array([charge])}
            found.append(atoms)
    return found


def of_dimer(frames: Iterable[Atoms], label: str) -> list[Atoms]:
    return sorted((f for f in frames if f.info["label"] == label), key=lambda frame: frame.info["distance"])


def coulomb_ratios(frames: Iterable[Atoms]) -> list[dict[str, float]]:
    """How the labelled force between the ions compares with that of two unit charges in vacuum."""
    found = []
    for frame in of_dimer(frames, "CC"):
        axis, second = separation(frame)
        distance = float(np.linalg.norm(axis))
        force = -float(frame.arrays["REF_forces"][second].sum(axis=0) @ axis) / distance
        found.append({"distance_angstrom": distance, "ratio": force * distance**2 / COULOMB})
    return found


def separation(dimer: Atoms) -> tuple[np.ndarray, np.ndarray]:
    """From one centre of mass to the other (Å), and which atoms the second monomer has."""
    second = np.arange(len(dimer)) >= dimer.info["indexB"]
    return dimer[second].get_center_of_mass() - dimer[~second].get_center_of_mass(), second


def write_frames(parts: dict[str, list[Atoms]]) -> None:
    """FRAMES/monomers_PART.extxyz with the charge of each monomer, FRAMES/dimers_PART.extxyz with their sum."""
    for part, frames in parts.items():
        write_structures(FRAMES / f"monomers_{part}.extxyz", frames)
        bare = [frame.copy() for frame in frames]
        for atoms in bare:
            del atoms.arrays["charge_fragment"], atoms.info["fragment_charges"]
        write_structures(FRAMES / f"dimers_{part}.extxyz", bare)


def outcome(base: TrainConfig, name: str, parts: dict[str, list[Atoms]], *changes: Change) -> dict[str, Any]:
    """Errors at held-out distances, and the curves."""
    config = changed(base, name, *changes)
    training = trained(config)
    model, kind = load_model(config.training.output / "model.safetensors"), kind_of(config)
    found = {
        "near": {"training": training, "energy_mae_mev": energy_errors(model, written(kind, "far"))},
        "curves": {label: curve(model, of_dimer(written(kind, "near"), label)[0]) for label in CHARGED},
    }
    if "test" in parts:
        config = changed(base, f"{name}_all", *changes, all_distances)
        training = trained(config)
        model = load_model(config.training.output / "model.safetensors")
        found["official"] = {"training": training, "energy_mae_mev": energy_errors(model, written(kind, "test"))}
    return found


def kind_of(config: TrainConfig) -> str:
    """monomers or dimers, whose charge the frames state"""
    return config.data.train[0].stem.partition("_")[0]


def written(kind: str, part: str) -> list[Atoms]:
    return read_frames(FRAMES / f"{kind}_{part}.extxyz")


def energy_errors(model: CACEQEq, frames: Sequence[Atoms]) -> dict[str, float]:
    """Mean absolute errors by dimer, and of all with an ion, meV."""
    errors = 1e3 * np.abs(energies(model, frames) - [frame.info["E_inter"] for frame in frames])
    labels = np.array([frame.info["label"] for frame in frames])
    found = {label: float(errors[labels == label].mean()) for label in sorted(set(labels))}
    return found | {"charged": float(errors[np.isin(labels, CHARGED)].mean())}


def energies(model: CACEQEq, frames: Sequence[Atoms]) -> np.ndarray:
    """(frame,)  eV"""
    batch = collate([to_batch(frame, model.geometry, float(frame.info["total_charge"])) for frame in frames])
    return predict(model, batch).energy.detach().numpy()


def curve(model: CACEQEq, dimer: Atoms) -> dict[str, list[float]]:
    """Energies while the second monomer moves away from the first, along the line between their centres of mass."""
    axis, second = separation(dimer)
    distances = np.linspace(np.linalg.norm(axis), LONGEST, 40)
    frames = []
    for distance in distances:
        moved = dimer.copy()
        moved.positions[second] += (distance / np.linalg.norm(axis) - 1) * axis
        frames.append(moved)
    return {"distance_angstrom": distances.tolist(), "energy_ev": energies(model, frames).tolist()}


def draw(curves: dict[str, dict[str, Any]], parts: dict[str, list[Atoms]]) -> None:
    figure = Figure(figsize=(11.0, 3.6), layout="constrained")
    for axes, label in zip(figure.subplots(1, len(CHARGED)), CHARGED, strict=True):
        draw_dimer(axes, label, curves, parts)
    figure.axes[0].set(ylabel="interaction energy in the cell (eV)")
    figure.axes[0].legend(frameon=False, fontsize=8)
    save(figure, FIGURE)


def draw_dimer(axes: Axes, label: str, curves: dict[str, dict[str, Any]], parts: dict[str, list[Atoms]]) -> None:
    for name, style in zip(curves, ("-", "--", ":"), strict=True):
        axes.plot(curves[name][label]["distance_angstrom"], curves[name][label]["energy_ev"], style, label=name)
    for part, face, name in (("near", "k", "HSE06, trained on"), ("far", "w", "HSE06, held out")):
        points = np.array([(f.info["distance"], f.info["E_inter"]) for f in of_dimer(parts[part], label)])
        axes.plot(*points.T, "o", color="k", markerfacecolor=face, markersize=4, label=name)
    axes.set(title=label, xlabel="distance (Å)")


if __name__ == "__main__":
    script(main)
