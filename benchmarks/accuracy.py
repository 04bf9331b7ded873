"""Accuracy of trained models on held-out frames, with charges and without, and the drift of their dynamics.

    python benchmarks/accuracy.py ag3 nacl_cluster carbon_chain dipeptides

trains what benchmarks/configs/NAME.yaml says (runs/ keeps the state: started again, it goes on where it was),
trains the same model blind to charge where that is the question, and writes results/accuracy_NAME.json and, in
docs/figures, learning_curve_NAME.png, for carbon chains also a figure of the hydrogen far from the proton.
Paths in the configurations are relative to the checkout, which is where to start it. With `--seeds 1,2` it trains each
with these seeds instead of the configured one; results are then named accuracy_NAME_seed1.json, and
accuracy_NAME_committee.json has the errors of the mean of all their models.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from ase import Atoms
from ase.optimize import BFGS
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console

from cace_qeq import CACEQEqCalculator, Committee, load_model, predict
from cace_qeq.cli.md import MovingBar
from cace_qeq.plots import save
from cace_qeq.simulation import DynamicsSettings, run_dynamics
from cace_qeq.structures import LabelKeys, read_frames, to_batch, total_charge_of
from cace_qeq.training import TrainConfig, evaluate_committee, load_config, parse_config
from record import refuse_unknown, script, write_result
from variants.changes import BESIDE, Change, changed, model, seeded, sets_in, without_charges
from variants.outcomes import SHOWN, held_out, held_out_batches, trained

CONFIGS = Path(__file__).parent / "configs"
FIGURES = Path(__file__).parent.parent / "docs" / "figures"
PICOSECONDS = 5.0
ONE_ROUND_CHANNELS = 32  # of complete invariants, instead of the products on the sphere

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """What is asked of a set beyond its errors.

    blind      the same model without charges
    short      one without charges whose single round sees no farther than the cutoff
    """

    blind: bool = False
    short: bool = False
    dynamics: bool = False


CASES = {
    "ag3": Case(blind=True, dynamics=True),
    "nacl_cluster": Case(blind=True, short=True, dynamics=True),
    "carbon_chain": Case(dynamics=True),
    "carbon_chain_4g": Case(),
    "nacl_crystal": Case(dynamics=True),
    "dipeptides": Case(),
    "acac_XS": Case(),
    "acac_S": Case(),
    "acac_M": Case(),
    "acac_L": Case(),
    "acac_L4": Case(),
    "bpa3_L": Case(),
    "rmd17_ethanol": Case(),
    "rmd17_ethanol_M": Case(),
    "rmd17_ethanol_L": Case(),
    "rmd17_aspirin": Case(),
    "rmd17_aspirin_L": Case(),
}


def main(
    names: Annotated[list[str], typer.Argument(help=f"Any of {', '.join(CASES)}.")],
    seeds: Annotated[str, typer.Option(help="Several, such as 0,1,2, and errors of their mean.")] = "",
    data: Annotated[Path, typer.Option(help="Folder of the downloaded sets.")] = BESIDE,
) -> None:
    """Train, evaluate, and write one result for each name and seed."""
    refuse_unknown(names, CASES)
    for name in names:
        values = load_config(CONFIGS / f"{name}.yaml").model_dump(mode="json")
        config = parse_config(sets_in(data)(values), name)
        numbers = [int(seed) for seed in seeds.split(",")] if seeds else [config.training.seed]
        runs, curves = dict(run_of(name, config, seed) for seed in numbers), {}
        for result, settings in runs.items():
            found = measured(name, settings)
            curves[settings.training.seed] = found["with_charges"]["validation"]
            Console().print(f"{result}: {write_result(f'accuracy_{result}', found)}")
        draw_curves(curves, FIGURES / f"learning_curve_{name}.png")
        if len(runs) > 1:
            content = {"config": f"benchmarks/configs/{name}.yaml", "seeds": seeds, **together(list(runs.values()))}
            Console().print(f"{name}, all seeds: {write_result(f'accuracy_{name}_committee', content)}")


def run_of(name: str, config: TrainConfig, seed: int) -> tuple[str, TrainConfig]:
    """A result's name and its configuration; the configured seed's are those of a run without seeds."""
    if seed == config.training.seed:
        return name, config
    return f"{name}_seed{seed}", changed(config, f"seed{seed}", seeded(seed))


def together(configs: list[TrainConfig]) -> dict[str, Any]:
    """Errors of the mean of trained models, and how far they are apart."""
    committee = Committee([load_model(config.training.output / "model.safetensors") for config in configs])
    evaluation, spread = evaluate_committee(committee, held_out_batches(configs[0], committee))
    return {"committee": evaluation.metrics, "spread": spread}


def measured(name: str, config: TrainConfig) -> dict[str, Any]:
    case = CASES[name]
    result: dict[str, Any] = {"config": f"benchmarks/configs/{name}.yaml", "with_charges": trained(config)}
    if case.blind:
        result |= compared(result["with_charges"], config, "blind", without_charges)
    if case.short:
        one_round = model(layers=1, message_rank=0, channels=ONE_ROUND_CHANNELS)
        result |= compared(result["with_charges"], config, "blind_one_round", without_charges, one_round)
    if name.startswith("carbon_chain"):
        result["far_hydrogen"] = far_hydrogen(config)
    if case.dynamics:
        result["dynamics"] = drifts(config)
    return result


def draw_curves(curves: dict[int, dict[str, list[Any]]], path: Path) -> None:
    """Errors of the validation frames by epoch.

    curves  by seed, as `trained` returns them
    """
    figure = Figure(figsize=(8.0, 3.2), layout="constrained")
    shown = {name: title for name, title in SHOWN.items() if any(None not in each[name] for each in curves.values())}
    for axes, (name, title) in zip(np.atleast_1d(figure.subplots(1, len(shown))), shown.items(), strict=True):
        for seed, curve in curves.items():
            axes.plot(curve["epoch"], curve[name], label=f"seed {seed}")
        axes.set(xlabel="epoch", ylabel=title, yscale="log")
    axes.legend(frameon=False)
    save(figure, path)


def compared(with_charges: dict[str, Any], config: TrainConfig, name: str, *changes: Change) -> dict[str, Any]:
    """Errors of a changed configuration, and how many times those of the model with charges they are."""
    errors = trained(changed(config, name, *changes))
    keys = ("energy_rmse_mev_per_atom", "forces_rmse_mev_per_angstrom")
    return {name: errors, f"{name}_over_with_charges": {key: errors[key] / with_charges[key] for key in keys}}


def far_hydrogen(config: TrainConfig) -> dict[str, dict[str, float]]:
    """Mean charge (e) of the hydrogen far from the proton and its error, by total charge; and a figure of all."""
    found = lonely_charges(config)
    draw_lonely(found, FIGURES / f"far_hydrogen_{config.training.output.name}.png")
    return {
        charge: {
            "reference": float(reference.mean()),
            "predicted": float(predicted.mean()),
            "rmse": float(np.sqrt(np.square(predicted - reference).mean())),
        }
        for charge, (reference, predicted) in found.items()
    }


def lonely_charges(config: TrainConfig) -> dict[str, tuple[Floats, Floats]]:
    """Reference and predicted charges (e) of the hydrogen far from the proton, one per frame, by total charge."""
    potential = load_model(config.training.output / "model.safetensors")
    found: dict[str, list[tuple[float, float]]] = {}
    for atoms in (frame for path in held_out(config) for frame in read_frames(path)):
        charge, lonely = total_charge_of(atoms, LabelKeys(), None), lonely_hydrogen(atoms)
        predicted = predict(potential, to_batch(atoms, potential.geometry, charge)).charges[lonely]
        found.setdefault(f"{charge:+g}", []).append((atoms.arrays["REF_charges"][lonely], float(predicted)))
    return {charge: (pairs[:, 0], pairs[:, 1]) for charge, pairs in sorted((c, np.array(p)) for c, p in found.items())}


def draw_lonely(charges: dict[str, tuple[Floats, Floats]], path: Path) -> None:
    figure = Figure(figsize=(4.2, 3.8), layout="constrained")
    axes = figure.subplots()
    for charge, (reference, predicted) in charges.items():
        axes.plot(reference, predicted, "o", alpha=0.7, label=f"total charge {charge} e")
    every = np.concatenate([part for pair in charges.values() for part in pair])
    ends = [every.min(), every.max()]
    axes.plot(ends, ends, "k--", linewidth=0.8)
    axes.set(xlabel="reference charge (e)", ylabel="predicted charge (e)", title="hydrogen far from the proton")
    axes.legend(frameon=False, fontsize="small")
    save(figure, path)


def lonely_hydrogen(atoms: Atoms) -> int:
    """The one farthest from its nearest like: at the end that is not protonated, either end if none is."""
    hydrogens = np.flatnonzero(atoms.numbers == 1)
    distances = atoms.get_all_distances()[np.ix_(hydrogens, hydrogens)]
    np.fill_diagonal(distances, np.inf)
    return int(hydrogens[distances.min(axis=1).argmax()])


def drifts(config: TrainConfig) -> dict[str, Any]:
    """NVE runs from the relaxed first test frame of each kind, 0.5 fs, float64.

    Velocities are drawn at 300 K, of which potential energy takes about half.
    """
    calculator = CACEQEqCalculator(config.training.output / "model.safetensors", dtype=torch.float64)
    settings = DynamicsSettings(n_steps=round(PICOSECONDS / 0.5e-3), timestep=0.5, temperature=300.0)
    found = {}
    for kind, atoms in kinds(config).items():
        atoms.calc = calculator
        BFGS(atoms, logfile=None).run(fmax=0.05, steps=300)
        trajectory = config.training.output / f"nve_{kind}.extxyz"
        for old in (trajectory, trajectory.with_suffix(".csv")):
            old.unlink(missing_ok=True)
        with MovingBar(settings.n_steps, Console()) as bar:
            found[kind] = asdict(run_dynamics(atoms, settings, trajectory, bar))
    return found


def kinds(config: TrainConfig) -> dict[str, Atoms]:
    """The first test frame of each composition and total charge, e.g. "Ag3+1"."""
    found: dict[str, Atoms] = {}
    for path in config.data.test:
        for frame in read_frames(path):
            charge = total_charge_of(frame, LabelKeys(), None)
            atoms = Atoms(frame.numbers, frame.positions, cell=frame.cell, pbc=frame.pbc, info={"charge": charge})
            found.setdefault(f"{frame.get_chemical_formula()}{charge:+g}", atoms)
    return found


if __name__ == "__main__":
    script(main)
