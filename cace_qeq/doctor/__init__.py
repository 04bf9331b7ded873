"""Whether a model keeps its promises on a structure: what was measured, and the limits."""

from cace_qeq.doctor.check import Check
from cace_qeq.doctor.examine import examine
from cace_qeq.doctor.samples import samples

__all__ = ["Check", "examine", "samples"]
