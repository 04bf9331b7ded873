"""What is measured, with whom side by side."""

from collections.abc import Callable
from dataclasses import dataclass

from ase import Atoms

from cace_qeq.benchmark.workers import OWN
from speed.structures import ethanol, water_box

EQUIVALENT = f"{OWN} equivalent"
PRESETS = tuple(f"{OWN} {name}" for name in ("XS", "S", "M", "L", "L4"))
S, L = f"{OWN} S", f"{OWN} L"
EQUIVALENT_COMPILED, S_COMPILED = f"{EQUIVALENT} compiled", f"{S} compiled"
NEQUIP, NEQUIP_COMPILED = "nequip S", "nequip S compiled"
MACE_64, MACE_128, MACE_128_L1 = "mace 64x0e", "mace 128x0e", "mace 128x0e+128x1o"
CACE = "cace water"
CUTOFF = 5.5  # Å


@dataclass(frozen=True)
class Item:
    """One kind of work that several models do side by side.

    subjects  "engine model"; those whose engine is not there are left out
    work      one of serving.WORK
    rounds    how often the subjects take turns
    """

    name: str
    frames: Callable[[], list[Atoms]]
    subjects: tuple[str, ...]
    work: str = "forces"
    dtype: str = "float32"
    symbols: tuple[str, ...] = ("H", "O")
    rounds: int = 7


def water(n_per_side: int, n_frames: int = 1) -> Callable[[], list[Atoms]]:
    return lambda: [water_box(n_per_side, seed) for seed in range(n_frames)]


def molecule() -> list[Atoms]:
    return [ethanol()]


ETHANOL = (EQUIVALENT, EQUIVALENT_COMPILED, S, S_COMPILED, NEQUIP, NEQUIP_COMPILED, MACE_64)

CHARGED = (S, S_COMPILED, f"{S} equilibrated", f"{S} equilibrated compiled", NEQUIP, NEQUIP_COMPILED)

XS = PRESETS[0]
XS_CHARGED = (XS, f"{XS} compiled", f"{XS} equilibrated", f"{XS} equilibrated compiled")

OURS = (EQUIVALENT, EQUIVALENT_COMPILED, *PRESETS, S_COMPILED)

ITEMS = (
    Item("forces_192", water(4), (*OURS, NEQUIP, NEQUIP_COMPILED, MACE_64, MACE_128, MACE_128_L1, CACE)),
    Item("forces_192_float64", water(4), (EQUIVALENT, *PRESETS, NEQUIP), dtype="float64"),
    Item("forces_1536", water(8), (EQUIVALENT, EQUIVALENT_COMPILED, S, NEQUIP)),
    Item("train_4x192", water(4, 4), (EQUIVALENT, S, NEQUIP), work="train"),
    Item("ase_192", water(4), (EQUIVALENT, S, NEQUIP), work="ase"),
    Item("ase_anew_192", water(4), (EQUIVALENT, S), work="ase_anew"),
    Item("dynamics_ethanol", molecule, ETHANOL, work="dynamics", symbols=("H", "C", "O")),
    Item("forces_648", water(6), (EQUIVALENT, S)),
    Item("forces_12288", water(16), (EQUIVALENT, S)),
)

# On a GPU, where generated code means CUDA graphs.
CUDA_ITEMS = (
    Item("forces_192", water(4), (EQUIVALENT, EQUIVALENT_COMPILED, S, S_COMPILED, L, NEQUIP, MACE_64, MACE_128)),
    Item("forces_192_float64", water(4), (EQUIVALENT, S, NEQUIP), dtype="float64"),
    Item("forces_1536", water(8), (EQUIVALENT, EQUIVALENT_COMPILED, S, S_COMPILED, L, NEQUIP)),
    Item("train_4x192", water(4, 4), (EQUIVALENT, EQUIVALENT_COMPILED, S, S_COMPILED, NEQUIP), work="train"),
    Item("ase_192", water(4), (EQUIVALENT, S, NEQUIP), work="ase"),
    Item("dynamics_ethanol", molecule, ETHANOL, work="dynamics", symbols=("H", "C", "O")),
    Item("forces_648", water(6), (EQUIVALENT, S)),
    Item("forces_12288", water(16), (EQUIVALENT, S, NEQUIP)),
)

# Minutes of compilation or of calls, and no goal: measured if named.
EXTRA_ITEMS = (
    Item("dynamics_ethanol_charges", molecule, CHARGED, work="dynamics", symbols=("H", "C", "O")),
    Item("forces_192_charges", water(4), (*XS_CHARGED, *CHARGED)),
    Item("forces_1536_compiled", water(8), (EQUIVALENT, S, NEQUIP_COMPILED)),
    Item("train_4x192_slow", water(4, 4), (EQUIVALENT, S, NEQUIP_COMPILED, MACE_64), work="train"),
)


@dataclass(frozen=True)
class MemoryItem:
    """Peak memory of fresh processes that do one call at growing sizes.

    sides    molecules per side of the boxes
    largest  the subject that also does the box of LARGEST_SIDE
    """

    name: str
    subjects: tuple[str, ...]
    sides: tuple[int, ...]
    largest: str | None = None


MEMORY_ITEMS = (
    MemoryItem("memory", (EQUIVALENT, S), (8, 12, 16), largest=EQUIVALENT),
    MemoryItem("memory_small", (NEQUIP,), (4, 6, 8)),
)
LARGEST_SIDE = 33  # 107 811 atoms
