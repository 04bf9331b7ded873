"""From settings to ASE's integrators.

NVE is velocity Verlet. NVT is Langevin dynamics and NPT adds a Langevin barostat, both in the BAOAB splitting
(Leimkuhler & Matthews, doi 10.1063/1.4802990; Quigley & Probert, doi 10.1063/1.1755657): they sample the
canonical and the isothermal-isobaric ensemble, also for a handful of atoms, where chains of deterministic
thermostats stick and weak coupling (Berendsen) samples no ensemble. Beside atoms and cell their state is
the motion of the barostat alone, so that a run resumes exactly.
"""

import numpy as np
from ase import Atoms, units
from ase.constraints import FixAtoms, FixCartesian, FixCom, FixedLine, FixedPlane, Hookean
from ase.md.langevinbaoab import LangevinBAOAB
from ase.md.md import MolecularDynamics
from ase.md.verlet import VelocityVerlet
from numpy.typing import NDArray

from cace_qeq.simulation.settings import DynamicsSettings
from cace_qeq.simulation.velocities import feels_external_charges

KEPT_BY_VELOCITIES = (FixAtoms, FixCartesian, FixCom, FixedLine, FixedPlane, Hookean)
KEPT_BY_SCALING = (FixCom,)  # in coordinates of the cell


def integrator(atoms: Atoms, settings: DynamicsSettings, noise: np.random.Generator) -> MolecularDynamics:
    """What moves the atoms, one `step()` at a time.

    Raises ValueError for constraints that a bath or a barostat breaks, and for NPT without a cell that is periodic in
    three directions, or with external charges.
    """
    timestep = settings.timestep * units.fs
    if settings.ensemble == "nve":
        return VelocityVerlet(atoms, timestep)
    bath = {"temperature_K": settings.temperature, "T_tau": 1000 * units.fs / settings.friction, "rng": noise}
    refuse_constraints_beyond(KEPT_BY_VELOCITIES if settings.ensemble == "nvt" else KEPT_BY_SCALING, atoms, settings)
    if settings.ensemble == "nvt":
        return LangevinBAOAB(atoms, timestep, hydrostatic=True, **bath)
    if not atoms.pbc.all():
        raise ValueError(
            f"npt needs a cell that is periodic in three directions, got pbc = {atoms.pbc.tolist()}; use nve or nvt."
        )
    refuse_charges_left_behind(atoms)
    return Barostat(
        atoms,
        timestep,
        externalstress=-settings.pressure * units.bar,
        hydrostatic=settings.cell == "isotropic",
        P_tau=settings.barostat_time * units.fs,
        P_mass=barostat_mass(len(atoms), settings),
        **bath,
    )


class Barostat(LangevinBAOAB):
    """ASE's, but for the drag that a flexible cell's motion exerts, p_ε + tr(p_ε)/N_f · 1: ASE 3.29 adds tr(p_ε)/N_f
    to the elements beside the diagonal as well, and so couples directions as the axes happen to lie.
    """

    def _barostat_BAOAB_OU_gamma_mod(self) -> NDArray[np.float64]:  # noqa: N802
        if self.hydrostatic:
            return np.asarray(super()._barostat_BAOAB_OU_gamma_mod())
        return np.asarray((self.p_eps + np.trace(self.p_eps) / self.Ndof * np.eye(3)) / self.barostat_mass)


def refuse_constraints_beyond(kept: tuple[type, ...], atoms: Atoms, settings: DynamicsSettings) -> None:
    """Raise ValueError for others: ASE's bath projects velocities alone, and its barostat scales every position."""
    broken = sorted({type(constraint).__name__ for constraint in atoms.constraints if not isinstance(constraint, kept)})
    if broken:
        able = ", ".join(kind.__name__ for kind in kept)
        raise ValueError(
            f"{settings.ensemble} does not keep {', '.join(broken)}, only {able}; take the constraint off, "
            "or use another ensemble (nve keeps all)."
        )


def refuse_charges_left_behind(atoms: Atoms) -> None:
    """Raise ValueError for external charges in a cell that is about to change."""
    if feels_external_charges(atoms):
        raise ValueError(
            "external charges stay where they are while the cell changes, but the stress is that of a cell that takes "
            "them along; keep the cell fixed, or take them out of atoms.info."
        )


def barostat_mass(n_atoms: int, settings: DynamicsSettings) -> float:
    """3 (N + 1) kT τ², the inertia of the volume; of a flexible cell (N + 1) kT τ² for each element.

    Martyna, Tobias & Klein, doi 10.1063/1.467468
    """
    time = settings.barostat_time * units.fs
    directions = 3 if settings.cell == "isotropic" else 1
    return float(directions * (n_atoms + 1) * units.kB * settings.temperature * time**2)


def barostat_state(dynamics: MolecularDynamics) -> NDArray[np.float64] | None:
    """Momentum of the cell and the force on it, (2,) or (18,); None without a barostat.

    The force belongs to the state: it was taken half a step of momenta before the frame.
    """
    if isinstance(dynamics, LangevinBAOAB) and dynamics.externalstress is not None:
        return np.concatenate(np.broadcast_arrays(dynamics.p_eps, dynamics.force_eps), axis=None)
    return None


def restore_barostat(dynamics: MolecularDynamics, state: NDArray[np.float64]) -> None:
    """Give the cell the motion that it had in an earlier run."""
    if isinstance(dynamics, LangevinBAOAB):
        shape = () if dynamics.hydrostatic else (3, 3)
        dynamics.p_eps, dynamics.force_eps = state.reshape(2, *shape)


def reseed(noise: np.random.Generator, seed: int, step: int) -> None:
    """Make what follows a function of seed and step alone."""
    sequence = np.random.SeedSequence(seed, spawn_key=(step,))
    noise.bit_generator.state = np.random.default_rng(sequence).bit_generator.state
