"""Runs of molecular dynamics that are watched, shared by the tests of dynamics."""

from ase import Atoms

from cace_qeq.calculator import CACEQEqCalculator
from cace_qeq.simulation import Sample
from small_models import trained_model

ENSEMBLES = {
    "nve": {"ensemble": "nve"},
    "nvt": {"ensemble": "nvt"},
    "npt": {"ensemble": "npt", "pressure": 2000.0},
    "npt, flexible": {"ensemble": "npt", "cell": "flexible"},
}


def salt(atoms: Atoms, **info) -> Atoms:
    atoms.info.update(info)
    atoms.calc = CACEQEqCalculator(trained_model())
    return atoms


class Listener:
    """Remembers what it is told; stops the run at a step if it is asked to, as a user would."""

    def __init__(self, stop_at: int = -1):
        self.stop_at = stop_at
        self.steps: list[int] = []
        self.samples: list[Sample] = []

    def began(self, step: int) -> None:
        self.steps.append(step)

    def stepped(self, step: int) -> None:
        self.steps.append(step)
        if step == self.stop_at:
            raise KeyboardInterrupt

    def sampled(self, one: Sample) -> None:
        self.samples.append(one)
