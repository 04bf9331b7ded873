"""What a simulation is asked to do."""

from typing import Literal

from pydantic import Field, model_validator

from cace_qeq.strict import Settings

BAROSTAT = ("pressure", "barostat_time", "cell")
BATH = ("friction", *BAROSTAT)
CONSTANT = {"nve": "energy", "nvt": "volume"}


class DynamicsSettings(Settings):
    """Molecular dynamics; frozen, and an unknown field is an error.

    n_steps        of the whole run, those before a resumption included
    ensemble       "nve": velocity Verlet; "nvt": Langevin; "npt": Langevin with a Langevin barostat
    timestep       fs
    temperature    K, of the bath, and of the velocities drawn for a structure without
    pressure       bar, npt only
    friction       1/ps, of the Langevin bath
    barostat_time  fs, on which the volume follows the pressure
    cell           "isotropic": npt scales the cell; "flexible": it changes the shape too
    interval       steps between frames of the trajectory and rows of the log
    seed           of velocities and noise; the noise depends on seed and step, so resumed runs agree
    """

    n_steps: int = Field(ge=0)
    ensemble: Literal["nve", "nvt", "npt"] = "nve"
    timestep: float = Field(default=0.5, gt=0)
    temperature: float = Field(default=300.0, gt=0)
    pressure: float = 1.0
    friction: float = Field(default=10.0, gt=0)
    barostat_time: float = Field(default=1000.0, gt=0)
    cell: Literal["isotropic", "flexible"] = "isotropic"
    interval: int = Field(default=10, ge=1)
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _of_this_ensemble(self) -> "DynamicsSettings":
        for name in BATH if self.ensemble == "nve" else BAROSTAT if self.ensemble == "nvt" else ():
            if self.is_changed(name):
                kind = "npt" if name in BAROSTAT else "nvt or npt"
                where = f"at constant {CONSTANT[self.ensemble]}"
                raise ValueError(f"{name} has no effect {where}; leave it out, or set the ensemble to {kind}")
        return self


class RelaxationSettings(Settings):
    """Search for the nearest minimum of the energy.

    largest_force  eV/Å, below which the structure is relaxed; with the cell also eV per atom of strain
    n_steps        after which the search gives up
    optimizer      "bfgs", "lbfgs" (less memory, for many atoms) or "fire" (robust far from the minimum)
    cell           "fixed", or "relaxed" against the pressure
    pressure       bar
    """

    largest_force: float = Field(default=0.01, gt=0)
    n_steps: int = Field(default=500, ge=0)
    optimizer: Literal["bfgs", "lbfgs", "fire"] = "bfgs"
    cell: Literal["fixed", "relaxed"] = "fixed"
    pressure: float = 0.0

    @model_validator(mode="after")
    def _pressure_on_the_cell(self) -> "RelaxationSettings":
        if self.cell == "fixed" and self.is_changed("pressure"):
            raise ValueError("pressure has no effect on a fixed cell; relax the cell too, or leave it out")
        return self
