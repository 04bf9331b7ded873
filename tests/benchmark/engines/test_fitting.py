"""The common training loop, with the smallest code there is: one spring per pair, fitted to springs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.io import write

from cace_qeq.benchmark import OPTIMIZERS
from cace_qeq.benchmark.engines.fitting import CHECKS, Fit
from cace_qeq.benchmark.engines.job import Job
from cace_qeq.benchmark.engines.plan import FINAL, FitPlan, energy_weight, rate_factor
from cace_qeq.benchmark.engines.targets import Predicted, Scale, Target, energy_of, read, reference_energies, target

STIFFNESS = 3.0


def dimer(length: float) -> Atoms:
    atoms = Atoms("H2", positions=[[0, 0, 0], [length, 0, 0]])
    atoms.info["REF_energy"] = STIFFNESS * (length - 1) ** 2 / 2
    atoms.arrays["REF_forces"] = STIFFNESS * (length - 1) * np.array([[1.0, 0, 0], [-1, 0, 0]])
    return atoms


class Spring(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stiffness = torch.nn.Parameter(torch.tensor(1.0, dtype=torch.float64))
        self.offset = torch.nn.Parameter(torch.tensor(0.0, dtype=torch.float64))

    def forward(self, length: torch.Tensor) -> torch.Tensor:
        return self.stiffness * (length - 1) ** 2 / 2 + self.offset


class Springs:
    """A code whose only parameters are a stiffness and a constant."""

    def begin(self, job: Job, scale: Scale, frames: list[Atoms], targets: list[Target]) -> None:
        self.model = Spring()

    def sample(self, atoms: Atoms) -> float:
        return float(atoms.get_distance(0, 1))

    def join(self, samples: list[float]) -> torch.Tensor:
        return torch.tensor(samples, dtype=torch.float64)

    def predicted(self, batch: torch.Tensor) -> Predicted:
        length = batch.clone().requires_grad_(True)
        energy = self.model(length)
        (slope,) = torch.autograd.grad(energy.sum(), length, create_graph=self.model.training)
        forces = torch.zeros(len(batch), 2, 3, dtype=torch.float64)
        forces = forces + slope[:, None, None] * torch.tensor([[[1.0, 0, 0], [-1, 0, 0]]], dtype=torch.float64)
        forces = forces.view(-1, 3)
        return Predicted(energy, forces)


@pytest.fixture
def plan(tmp_path: Path) -> FitPlan:
    lengths = np.linspace(0.7, 1.4, 23)
    paths = {}
    for name, chosen in (("train", lengths), ("valid", lengths[::4] + 0.01), ("held_out", lengths[::5] + 0.02)):
        paths[name] = (str(tmp_path / f"{name}.extxyz"),)
        write(paths[name][0], [dimer(length) for length in chosen], format="extxyz")
    job = Job("spring", "float64", 2.0, ("H",), str(tmp_path), "fit")
    return FitPlan(
        job, **paths, seconds=0.6, epochs=0, seed=1, batch=5, frames=0, optimizer="adamw", learning_rate=0.05,
        energy_weights=(1.0, 10.0), energy_ramp=(0.5, 0.9), charge_weight=0.0, state=str(tmp_path / "state.pt"),
    )  # fmt: skip


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_springs_are_found_again_within_the_budget(plan, optimizer):
    learner = Springs()
    told = list[dict[str, float]]()
    result = Fit(learner, replace(plan, optimizer=optimizer), told.append).run()
    assert learner.model.stiffness.item() == pytest.approx(STIFFNESS, rel=0.02)
    assert result["errors"]["forces_rmse_mev_per_angstrom"] < 20
    assert 0.6 <= result["training_seconds"] < 0.7
    assert [row["seconds"] for row in result["history"]] == sorted(row["seconds"] for row in result["history"])
    assert (result["frames"], result["parameters"]) == (23, 2)
    assert [{key: row[key] for key in row if key != "done"} for row in told if "steps" in row] == result["history"]
    assert [row["done"] for row in told] == sorted(row["done"] for row in told)
    assert told[-1]["done"] >= 1


def test_a_budget_of_epochs_is_so_many_steps(plan):
    told = list[dict[str, float]]()
    result = Fit(Springs(), replace(plan, seconds=0.0, epochs=30), told.append).run()
    assert (result["steps"], result["history"][-1]["steps"]) == (30 * (23 // 5), 30 * (23 // 5))
    assert len(result["history"]) == CHECKS
    assert told[-1]["done"] == 1
    again = Fit(Springs(), replace(plan, seconds=0.0, epochs=30, state=plan.state + "2"), told.append).run()
    assert again["errors"] == result["errors"]  # of the machine's speed nothing is left


def test_a_training_that_diverges_says_so(plan):
    with pytest.raises(FloatingPointError, match="not finite"):
        Fit(Springs(), replace(plan, learning_rate=1e308), lambda row: None).run()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_broken_training_ends_like_one_that_is_not(plan, optimizer):
    plan = replace(plan, optimizer=optimizer, seconds=0.0, epochs=30)
    unbroken = Fit(Springs(), replace(plan, state=plan.state + "2"), lambda row: None).run()

    def stop(row: dict[str, float]) -> None:
        if row["done"] >= 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Fit(Springs(), plan, stop).run()
    again = Fit(Springs(), plan, lambda row: None).run()
    assert (again["errors"], again["steps"]) == (unbroken["errors"], unbroken["steps"])
    assert again["training_seconds"] > again["history"][0]["seconds"]


def test_a_training_under_other_conditions_is_not_gone_on_with(plan):
    Fit(Springs(), replace(plan, seconds=0.3), lambda row: None).run()
    moved = replace(plan, seconds=0.3, train=tuple(f"{Path(path).parent}/./{Path(path).name}" for path in plan.train))
    Fit(Springs(), moved, lambda row: None).resume()
    with pytest.raises(ValueError, match="under other conditions"):
        Fit(Springs(), replace(plan, seconds=0.3, energy_weights=(1.0, 1000.0)), lambda row: None).resume()


def test_forces_that_are_no_slope_are_refused(plan):
    class Wrong(Springs):
        def predicted(self, batch: torch.Tensor) -> Predicted:
            found = super().predicted(batch)
            return Predicted(found.energy, -found.forces)

    with pytest.raises(ValueError, match=r"spring: along its forces, .* energy falls by -"):
        Fit(Wrong(), replace(plan, seconds=0.0, epochs=1), lambda row: None).run()


def test_no_code_begins_with_an_error_that_all_frames_share(plan):
    class Far(Springs):
        def begin(self, job: Job, scale: Scale, frames: list[Atoms], targets: list[Target]) -> None:
            super().begin(job, scale, frames, targets)
            self.model.offset.data += 1e3

    near, far = (Fit(learner, plan, lambda row: None) for learner in (Springs(), Far()))
    for fit in (near, far):
        assert np.mean(fit.lacking()) == pytest.approx(0.0, abs=1e-9)
    assert 2 * (near.references[1] - far.references[1]) == pytest.approx(1e3)


def test_every_epoch_shows_every_frame_once(plan):
    fit = Fit(Springs(), plan, lambda row: None)
    per_epoch = 23 // 5
    epochs = [[i for step in range(per_epoch) for i in fit.indices(per_epoch * e + step)] for e in range(2)]
    for epoch in epochs:
        assert len(epoch) == len(set(epoch)) == 20  # the last three wait for another order
    assert epochs[0] != epochs[1]
    assert Fit(Springs(), plan, lambda row: None).indices(3) == fit.indices(3)
    assert Fit(Springs(), replace(plan, seed=2), lambda row: None).indices(3) != fit.indices(3)


def test_the_learning_rate_rises_and_falls():
    assert rate_factor(0.0) == 0.0
    assert rate_factor(0.02) == pytest.approx(1.0, abs=2e-3)
    assert rate_factor(0.51) == pytest.approx((1 + FINAL) / 2, abs=0.02)
    assert rate_factor(1.0) == rate_factor(2.0) == pytest.approx(FINAL)


def test_energies_weigh_more_and_more(plan):
    ramp, step = replace(plan, energy_ramp=(0.5, 0.9)), replace(plan, energy_ramp=(0.7, 0.7))
    weights = [energy_weight(done, ramp) for done in np.linspace(0, 1, 101)]
    assert (weights[0], weights[50], weights[90], weights[100]) == pytest.approx((1, 1, 10, 10))
    assert weights[70] == pytest.approx(10**0.5)
    assert max(np.diff(np.log(weights))) < 0.06
    assert [energy_weight(done, step) for done in (0.69, 0.7, 1.0)] == [1.0, 10.0, 10.0]


def test_labels_have_lost_what_the_elements_explain(plan):
    frames = read(plan.train, 0.0)
    references = reference_energies(frames, [energy_of(atoms) for atoms in frames])
    left = [target(atoms, references).energy.item() for atoms in frames]
    assert np.mean(left) == pytest.approx(0.0, abs=1e-12)
