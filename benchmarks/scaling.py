"""What charges cost: model against model without, charges alone against other sums, one core, float64.

    python benchmarks/scaling.py ratio product given small crossover iterations bonds charges large

Boxes of liquid water with learned widths. Seconds are those of the processor, which on one core of a quiet machine are
those of the clock. The tasks of a comparison take turns and their medians are compared, so that whatever else the
machine does falls on all alike. Results are added to benchmarks/results/scaling.json, each part with its commit. Peak
memory is that of the process so far: measure `large` by itself.
"""

import json
import math
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product as product_of
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from cace_qeq import CACEQEq, ModelConfig, predict
from cace_qeq.allocation import keep_freed_memory
from cace_qeq.benchmark.engines.memory import peak_kilobytes
from cace_qeq.benchmark.record import machine
from cace_qeq.electrostatics import Solver
from cace_qeq.electrostatics.conjugate_gradients import Constraint, Convergence, System, conjugate_gradients
from cace_qeq.electrostatics.coulomb_forms import charge_form
from cace_qeq.electrostatics.given import coulomb_form
from cace_qeq.electrostatics.kernels import self_interaction
from cace_qeq.electrostatics.preconditioner import long_waves
from cace_qeq.structures import to_batch
from cace_qeq.units import COULOMB
from record import RESULTS, refuse_unknown, script, write_result
from speed.charges import charge_energy, charged, generated_charge_energy, reciprocal_sum, water_box

CUTOFF = 5.0  # Å, of the short-range model
REPEATS = 7
COARSE, FINE = 1e-4, 1e-12  # accuracy of sums
SHORTEST = 0.7  # Å, of waves that leave nothing out


def in_turns(tasks: dict[str, Callable[[], Any]], repeats: int = REPEATS) -> dict[str, float]:
    """Median milliseconds of every task."""
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for round_ in range(repeats + 1):
        for name, task in tasks.items():
            begin = time.process_time()
            task()
            if round_:  # the first warms up
                times[name].append(1e3 * (time.process_time() - begin))
    return {name: statistics.median(values) for name, values in times.items()}


def model_of(preset: str, energy: str, **changes: Any) -> CACEQEq:
    torch.manual_seed(0)
    fixed = {"species": [1, 8], "cutoff": CUTOFF, "energy": energy, "learn_widths": energy != "none"}
    config = ModelConfig.preset(preset, **fixed, **changes)
    model = CACEQEq(config).double().eval().requires_grad_(False)
    model.calibrate(to_batch(water_box(3), model.frozen_geometry, 0.0))
    return model


def ratio(preset: str, n_edge: int, repeats: int = REPEATS) -> dict[str, float]:
    """Energy, forces, stress (and charges) of a prepared batch, with charges and without."""
    atoms = water_box(n_edge)
    tasks = {}
    for energy in ("none", "equilibrated"):
        model = model_of(preset, energy)
        batch = to_batch(atoms, model.frozen_geometry, 0.0)
        tasks[energy] = lambda model=model, batch=batch: predict(model, batch)
    found = in_turns(tasks, repeats)
    return {"atoms": len(atoms), **found, "ratio": found["equilibrated"] / found["none"]}


def small(n_edge: int = 4) -> dict[str, float]:
    """Complete charge energies and derivatives of 192 atoms, against a reciprocal sum of given charges.

    That sum leaves out what is shorter than 2 Å: a second row of ours is as coarse, but still more accurate.
    """
    methods, code, coarse = ("dense", "structure_factors", "mesh"), "dense, generated code", f"{COARSE:g}"
    tasks: dict[str, Callable[[], Any]] = {"reciprocal_sum": reciprocal_sum(n_edge)}
    tasks |= {method: charge_energy(n_edge, method) for method in methods}
    tasks |= {f"dense, {coarse}": charge_energy(n_edge, "dense", COARSE), code: generated_charge_energy(n_edge)}
    tasks |= {f"{code}, {coarse}": generated_charge_energy(n_edge, COARSE)}
    found = in_turns(tasks, 3 * REPEATS)
    ratios = {f"ratio, {name}": found[name] / found["reciprocal_sum"] for name in tasks if name != "reciprocal_sum"}
    exact, whole = charge_energy(n_edge, "dense", FINE)(), reciprocal_sum(n_edge, SHORTEST)()
    errors = {name: relative_error(tasks[name](), exact) for name in (*methods, code, f"{code}, {coarse}")}
    errors["reciprocal_sum"] = relative_error(tasks["reciprocal_sum"](), whole)
    return {"atoms": 3 * n_edge**3, **found, **ratios, **{f"error of forces, {n}": e for n, e in errors.items()}}


def relative_error(slopes: tuple[Tensor, ...], exact: tuple[Tensor, ...]) -> float:
    """Of forces, root mean squares."""
    return float((slopes[0] - exact[0]).norm() / exact[0].norm())


def crossover() -> list[dict[str, float]]:
    """Where one method overtakes the other."""
    found = []
    for n_edge in (2, 3, 4, 5, 6):
        tasks = {method: charge_energy(n_edge, method) for method in ("dense", "structure_factors", "mesh")}
        found.append({"atoms": 3 * n_edge**3, **in_turns(tasks)})
    return found


def iterations(n_edge: int) -> dict[str, int]:
    """Of conjugate gradients, with a mesh of long waves as preconditioner and with the diagonal alone."""
    geometry, parameters = charged(n_edge, "mesh")
    form, stiffness = (
        charge_form(geometry, parameters, "point"),
        parameters.hardness + self_interaction(parameters.width),
    )
    constraint = Constraint.of(torch.ones_like(stiffness).unsqueeze(0))
    noise = torch.randn(stiffness.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    known = -parameters.electronegativity - noise, torch.zeros(1, dtype=torch.float64), torch.zeros_like(stiffness)
    counts = {}
    for name, precondition in {
        "iterations": long_waves(geometry.positions, geometry.cells[0], stiffness),
        "by_the_diagonal": lambda residual: residual / stiffness,
    }.items():
        found = conjugate_gradients(System(form.product, precondition, constraint), *known, Convergence())
        counts[name] = len(found.residuals) - 1
    return {"atoms": len(stiffness), **counts}


def along_bonds() -> list[dict[str, float]]:
    """Preset XS whose charge flows along bonds against one whose charge flows freely, with and without a matrix."""
    found = []
    for n_edge, methods, repeats in ((4, ("dense", "mesh"), REPEATS), (8, ("dense", "mesh"), 3), (16, ("mesh",), 3)):
        atoms, tasks = water_box(n_edge), {}
        for flow, method in product_of(("free", "bonds"), methods):
            model = model_of("XS", "equilibrated", charge_flow=flow)
            model.solver = Solver(method)
            batch = to_batch(atoms, model.frozen_geometry, 0.0)
            tasks[f"{flow}, {method}"] = lambda model=model, batch=batch: predict(model, batch)
        found.append({"atoms": len(atoms), **in_turns(tasks, repeats)})
    return found


def product(n_edge: int = 12) -> dict[str, float]:
    """K q on a prepared mesh, and with the mesh made anew, against forward passes of torch-pme, which begin there.

    Its meshes have powers of two: the nearest below and above ours. Errors are those of potentials, in eV/e, against
    the same sums on meshes that are much finer.
    """
    import torchpme

    geometry, parameters = charged(n_edge, "mesh")
    form = charge_form(geometry, parameters, "point")
    charges = torch.randn(len(geometry.positions), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    edge, points = float(geometry.cells[0, 0, 0]), int(geometry.mesh[0, 0])
    below = 2 ** (points.bit_length() - 1)
    potential = torchpme.CoulombPotential(float(geometry.split[0]))
    others = {
        n: torchpme.PMECalculator(potential, edge / (n / 2 - 1), 6).double() for n in (below, 2 * below, 4 * below)
    }
    pairs = torch.stack([geometry.center, geometry.neighbor], dim=1)
    images = geometry.shift.T @ geometry.cells[0]
    distances = (geometry.positions[geometry.neighbor] - geometry.positions[geometry.center] + images).norm(dim=1)
    tasks = {
        "product": lambda: form.product(charges),
        "with_its_mesh": lambda: charge_form(geometry, parameters, "point").product(charges),
    }
    for n, other in others.items():
        tasks[f"torch_pme_{n}"] = partial(
            other, charges.unsqueeze(1), geometry.cells[0], geometry.positions, pairs, distances
        )
    exact = tasks.pop(f"torch_pme_{4 * below}")()
    found = in_turns(tasks)
    fine = charge_form(*charged(n_edge, "mesh", mesh_accuracy=FINE), "point").product(charges)
    errors = {"error": form.product(charges) - fine}
    errors |= {f"error_of_{n}": 2 * COULOMB * (tasks[f"torch_pme_{n}"]() - exact) for n in (below, 2 * below)}
    ratios = {f"ratio_to_{n}": found["product"] / found[f"torch_pme_{n}"] for n in (below, 2 * below)}
    root_mean_squares = {name: float(error.square().mean().sqrt()) for name, error in errors.items()}
    return {"atoms": len(charges), "mesh_points": points, **found, **ratios, **root_mean_squares}


def given(n_edge: int = 12) -> dict[str, float]:
    """Energy and forces of given charges against NVIDIA's nvalchemi-toolkit-ops: the same mesh, splines and pairs."""
    from nvalchemiops.torch.interactions.electrostatics.pme import particle_mesh_ewald

    geometry, parameters = charged(n_edge, "mesh")
    charges = torch.randn(len(geometry.positions), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    charges -= charges.mean()

    def ours() -> tuple[Tensor, Tensor]:
        positions = geometry.positions.clone().requires_grad_()
        energy = coulomb_form(replace(geometry, positions=positions), parameters.width, "point").energy(charges)
        return energy.detach(), -torch.autograd.grad(energy, positions)[0]

    *mesh, order = geometry.mesh[0].tolist()
    center = torch.cat([geometry.center, geometry.neighbor])
    neighbor = torch.cat([geometry.neighbor, geometry.center])
    shift, sorted_by_center = torch.cat([geometry.shift, -geometry.shift], dim=1).T, center.argsort(stable=True)
    peer = partial(
        particle_mesh_ewald,
        geometry.positions,
        charges,
        geometry.cells[0],
        alpha=1 / (math.sqrt(2) * float(geometry.split[0])),
        mesh_dimensions=tuple(mesh),
        spline_order=order,
        neighbor_list=torch.stack([center, neighbor])[:, sorted_by_center].int(),
        neighbor_ptr=torch.nn.functional.pad(center.bincount(minlength=len(charges)).cumsum(0), (1, 0)).int(),
        neighbor_shifts=shift[sorted_by_center].int(),
        compute_forces=True,
    )
    found = in_turns({"ours": ours, "nvalchemi": peer})
    pairs = len(center) / len(charges)
    return {"atoms": len(charges), "pairs_per_atom": pairs, **found, "ratio": found["ours"] / found["nvalchemi"]}


def charges_alone() -> list[dict[str, float]]:
    """Charges, energy and derivatives without a model, up to 98 304 atoms."""
    found = []
    for n_edge, repeats in ((8, REPEATS), (16, 3), (32, 1)):
        atoms = 3 * n_edge**3
        milliseconds = in_turns({"mesh": charge_energy(n_edge, "mesh")}, repeats)["mesh"]
        memory = peak_kilobytes() / 1e6
        result = {"ms": milliseconds, "ms_per_atom": milliseconds / atoms, "peak_memory_gb": memory}
        found.append({"atoms": atoms, **result})
    return found


def large(preset: str = "XS", n_edge: int = 32) -> dict[str, float]:
    """Charges, forces and stress of 98 304 atoms in this process, per atom against 1 536; both once warmed up."""
    small_box = ratio(preset, 8)
    model = model_of(preset, "equilibrated")
    batch = to_batch(water_box(n_edge), model.frozen_geometry, 0.0)
    begin = time.process_time()
    prediction = predict(model, batch)
    first = time.process_time() - begin  # with memory that is new
    milliseconds = in_turns({"large": lambda: predict(model, batch)}, 3)["large"]
    per_atom = milliseconds / batch.n_atoms
    return {
        "atoms": batch.n_atoms,
        "seconds": milliseconds / 1e3,
        "seconds_of_the_first_call": first,
        "ms_per_atom": per_atom,
        "ms_per_atom_at_1536": small_box["equilibrated"] / small_box["atoms"],
        "ratio": per_atom / (small_box["equilibrated"] / small_box["atoms"]),
        "peak_memory_gb": peak_kilobytes() / 1e6,
        "sum_of_charges": float(prediction.charges.sum()),
        "mean_oxygen_charge": float(prediction.charges[batch.numbers == 8].mean()),
    }


PARTS: dict[str, Callable[[], Any]] = {
    "ratio": lambda: {
        preset: [ratio(preset, n, repeats) for n, repeats in ((4, 21), (8, REPEATS), (16, 3))] for preset in ("XS", "S")
    },
    "small": small,
    "crossover": crossover,
    "iterations": lambda: [iterations(n_edge) for n_edge in (4, 8, 16)],
    "bonds": along_bonds,
    "product": product,
    "given": given,
    "charges": charges_alone,
    "large": large,
}


def main(parts: Annotated[list[str], typer.Argument(help=f"Any of {', '.join(PARTS)}.")]) -> None:
    """Measure, and add what is found to one result."""
    refuse_unknown(parts, PARTS)
    torch.set_num_threads(1)
    keep_freed_memory()  # as `predict` does
    path = RESULTS / "scaling.json"
    for part in parts:
        content = json.loads(path.read_text()) if path.exists() else {}
        found = PARTS[part]()
        print(part, json.dumps(found, indent=1))
        loads = {**content.get("load", {}), part: os.getloadavg()[0]}  # of other work, above 1
        machines = {**content.get("machines", {}), part: machine()}
        commits = {name: at for name, at in content.get("commits", {}).items() if name not in machines}  # of before
        write_result("scaling", {**content, part: found, "load": loads, "machines": machines, "commits": commits})


if __name__ == "__main__":
    script(main)
