"""Molecular dynamics and relaxation of ASE structures, with any calculator that is attached to them."""

from cace_qeq.simulation.dynamics import Reporter, begun_run, log_of, new_run, resume_dynamics, run_dynamics
from cace_qeq.simulation.record import DynamicsSummary, Sample, read_log
from cace_qeq.simulation.relaxation import Relaxation, RelaxationReporter, new_files, relax
from cace_qeq.simulation.settings import DynamicsSettings, RelaxationSettings
from cace_qeq.simulation.spectrum import DipoleSeries, Spectrum, dipole_series, infrared_spectrum
from cace_qeq.simulation.velocities import draw_velocities

__all__ = [
    "DipoleSeries",
    "DynamicsSettings",
    "DynamicsSummary",
    "Relaxation",
    "RelaxationReporter",
    "RelaxationSettings",
    "Reporter",
    "Sample",
    "Spectrum",
    "begun_run",
    "dipole_series",
    "draw_velocities",
    "infrared_spectrum",
    "log_of",
    "new_run",
    "new_files",
    "read_log",
    "relax",
    "resume_dynamics",
    "run_dynamics",
]
