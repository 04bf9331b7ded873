"""The ensembles, on systems whose statistics are known in closed form."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.calculator import Calculator, all_changes
from ase.constraints import FixAtoms, FixBondLengths, FixCartesian, FixCom, FixedPlane
from ase.md.md import MolecularDynamics
from scipy.spatial.transform import Rotation

from cace_qeq.simulation import DynamicsSettings, run_dynamics
from cace_qeq.simulation.integrators import barostat_mass, integrator, reseed


class NoForces(Calculator):
    """An ideal gas."""

    implemented_properties = ("energy", "free_energy", "forces", "stress")

    def calculate(self, atoms=None, properties=(), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        forces = np.zeros((len(atoms), 3))
        self.results = {"energy": 0.0, "free_energy": 0.0, "forces": forces, "stress": np.zeros(6)}


class Springs(NoForces):
    """Independent harmonic oscillators, 1 eV/Å²."""

    def calculate(self, atoms=None, properties=(), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        energy = (atoms.positions**2).sum() / 2
        self.results |= {"energy": energy, "free_energy": energy, "forces": -atoms.positions}


def gas(n_atoms: int, calculator: Calculator) -> Atoms:
    atoms = Atoms(f"Ar{n_atoms}", np.zeros((n_atoms, 3)), cell=10 * np.eye(3), pbc=True)
    atoms.calc = calculator
    return atoms


def states(atoms: Atoms, settings: DynamicsSettings):
    """The atoms at each step, after a tenth of the steps for equilibration."""
    noise = np.random.default_rng(settings.seed)
    dynamics = integrator(atoms, settings, noise)
    for step in range(settings.n_steps):
        dynamics.step()
        if step > settings.n_steps / 10:
            yield atoms


@pytest.mark.parametrize(
    ("ensemble", "constraint"),
    [("nvt", FixBondLengths([[0, 1]])), ("npt", FixBondLengths([[0, 1]])), ("npt", FixAtoms([0]))],
)
def test_constraints_that_would_break_are_refused(ensemble, constraint):
    """ASE's bath moves positions as if there were none: a rigid bond grew by 0.01 Å in 2 ps."""
    atoms = gas(4, NoForces())
    atoms.set_constraint(constraint)
    settings = DynamicsSettings(n_steps=1, ensemble=ensemble)
    with pytest.raises(ValueError, match=f"{ensemble} does not keep {type(constraint).__name__}"):
        integrator(atoms, settings, np.random.default_rng(0))


@pytest.mark.parametrize(
    "constraint", [FixAtoms([0]), FixCartesian([0], mask=(True, False, True)), FixedPlane([0], (0, 1, 1)), FixCom()]
)
def test_constraints_on_velocities_hold_in_a_bath(constraint):
    atoms = gas(4, Springs())
    atoms.positions = np.random.default_rng(0).normal(size=(4, 3))
    before = atoms.copy()
    atoms.set_constraint(constraint)
    for _ in states(atoms, DynamicsSettings(n_steps=30, ensemble="nvt", timestep=5)):
        pass
    moved = atoms.positions - before.positions
    held = atoms.get_masses() @ moved if isinstance(constraint, FixCom) else moved[0]
    if isinstance(constraint, FixCartesian):
        held = held[[0, 2]]
    if isinstance(constraint, FixedPlane):
        held = held @ (0, 1, 1)
    np.testing.assert_allclose(held, 0, atol=1e-12)
    assert np.abs(moved).max() > 1e-3


def test_a_barostat_keeps_the_centre_of_mass_in_the_cell():
    atoms = gas(8, NoForces())
    atoms.positions = np.random.default_rng(0).uniform(2, 8, size=(8, 3))
    atoms.set_constraint(FixCom())
    before, volume = atoms.get_center_of_mass(scaled=True), atoms.get_volume()
    for _ in states(atoms, DynamicsSettings(n_steps=40, ensemble="npt", timestep=5)):
        pass
    np.testing.assert_allclose(atoms.get_center_of_mass(scaled=True), before, atol=1e-12)
    assert abs(atoms.get_volume() / volume - 1) > 1e-6


def test_langevin_oscillators_are_canonical():
    """⟨x²⟩ = kT / k and ⟨p²⟩ = m kT, over 300 directions; 3 % is some four errors of correlated samples."""
    settings = DynamicsSettings(n_steps=1500, ensemble="nvt", timestep=5, temperature=500, friction=20)
    squares = np.array(
        [
            ((atoms.positions**2).mean(), (atoms.get_momenta() ** 2).mean() / atoms.get_masses()[0])
            for atoms in states(gas(100, Springs()), settings)
        ]
    )
    thermal = units.kB * settings.temperature
    np.testing.assert_allclose(squares.mean(axis=0), thermal, rtol=0.03)


@pytest.mark.parametrize("cell", ["isotropic", "flexible"])
def test_ideal_gas_law(cell):
    """The volume has a gamma distribution: mean (N + 1) kT / P, relative width (N + 1)^-1/2.

    Eight seeds stray by up to 3 % from the mean and 9 % from the width.
    """
    settings = DynamicsSettings(
        n_steps=6000, ensemble="npt", timestep=20, temperature=300, pressure=1000, friction=5,
        barostat_time=300, cell=cell,
    )  # fmt: skip
    atoms = gas(30, NoForces())
    expected = (len(atoms) + 1) * units.kB * settings.temperature / (settings.pressure * units.bar)
    atoms.set_cell(np.eye(3) * expected ** (1 / 3))
    volumes = [one.get_volume() for one in states(atoms, settings)]
    assert np.mean(volumes) == pytest.approx(expected, rel=0.1)
    assert np.std(volumes) / np.mean(volumes) == pytest.approx((len(atoms) + 1) ** -0.5, rel=0.3)


def barostat(cell: str) -> MolecularDynamics:
    settings = DynamicsSettings(n_steps=1, ensemble="npt", timestep=1, pressure=5000, cell=cell)
    return integrator(gas(8, NoForces()), settings, np.random.default_rng(0))


def test_a_flexible_barostat_prefers_no_axes():
    """The drag of a cell that moves turns with the cell."""
    dynamics = barostat("flexible")
    turn = Rotation.from_rotvec([0.3, -0.5, 0.8]).as_matrix()
    momentum = np.diag([1.0, 2.0, -0.5])
    dynamics.p_eps = momentum
    drag = dynamics._barostat_BAOAB_OU_gamma_mod()
    dynamics.p_eps = turn @ momentum @ turn.T
    np.testing.assert_allclose(dynamics._barostat_BAOAB_OU_gamma_mod(), turn @ drag @ turn.T, atol=1e-12 * drag.max())


def test_volumes_have_the_same_inertia_in_either_cell():
    """d² ln V / dt² under a pressure."""
    accelerations = []
    for cell in ("isotropic", "flexible"):
        dynamics = barostat(cell)
        push = 3 * dynamics.force_eps if cell == "isotropic" else np.trace(dynamics.force_eps)
        accelerations.append(push / dynamics.barostat_mass)
    assert accelerations[0] == pytest.approx(accelerations[1])


def test_an_isotropic_barostat_keeps_the_shape():
    atoms = gas(10, NoForces())
    shape = atoms.cell.cellpar()[3:], atoms.cell.lengths() / atoms.cell.lengths()[0]
    settings = DynamicsSettings(n_steps=50, ensemble="npt", timestep=10, pressure=5000)
    *_, last = states(atoms, settings)
    np.testing.assert_allclose(last.cell.cellpar()[3:], shape[0])
    np.testing.assert_allclose(last.cell.lengths() / last.cell.lengths()[0], shape[1])
    assert last.get_volume() != pytest.approx(1000, rel=1e-6)


def test_noise_is_a_function_of_seed_and_step():
    noise = np.random.default_rng(99)
    reseed(noise, seed=1, step=20)
    first = noise.normal(size=3)
    reseed(noise, seed=1, step=20)
    assert np.array_equal(noise.normal(size=3), first)
    for seed, step in ((1, 21), (2, 20), (0, 0)):
        reseed(noise, seed, step)
        assert not np.allclose(noise.normal(size=3), first)


@pytest.mark.parametrize("pbc", [False, (True, True, False)])
def test_pressure_needs_a_crystal(pbc, tmp_path):
    atoms = gas(3, NoForces())
    atoms.pbc = pbc
    with pytest.raises(ValueError, match="npt needs a cell"):
        run_dynamics(atoms, DynamicsSettings(n_steps=1, ensemble="npt"), tmp_path / "a.extxyz")
    assert not list(tmp_path.iterdir())


def test_the_inertia_of_the_volume():
    settings = DynamicsSettings(n_steps=1, ensemble="npt", temperature=100, barostat_time=500)
    assert barostat_mass(7, settings) == pytest.approx(3 * 8 * units.kB * 100 * (500 * units.fs) ** 2)
