"""The README of a set: level, sampling, seeds, checks, counts, licence."""

from importlib.metadata import version

import numpy as np

from generate.build import Check, DataSet
from generate.engine import ACCURACY, METHOD
from generate.frames import DIGITS, LARGEST_FORCE, SPLITS, Frame
from generate.sampling import LARGEST_DISPLACEMENT, SOFTEST

THERMAL = (
    "the minimum and harmonic thermal samples about it, randomly rotated, at {} K in turn (`temperature`); "
    f"modes softer than {SOFTEST} eV/Å² over the heaviest mass are stiffened to that, displacements stay "
    f"under {LARGEST_DISPLACEMENT} Å."
)

SAMPLING = {
    "ag3": """# Silver trimers Ag3+ and Ag3-

Sampling: random triangles, with two bonds from N(2.70, 0.16) Å clipped to 2.3-3.4 Å, the angle between them
uniform in 48-180 degrees, no distance under 2.3 Å, randomly rotated. Each geometry is labelled with the total
charges +1 and -1 (`geom_id` numbers the geometries): nothing but the total charge tells them apart.
Seed 2021.""",
    "carbon_chain": f"""# Carbon chains C10H2 and C10H3+

Sampling: {THERMAL.format("300, 600 and 1000")}
A proton on one end shifts charge along the whole chain. Seeds 101 and 102.""",
    "nacl_cluster": f"""# Sodium chloride clusters Na9Cl8+ and Na8Cl8+

Sampling: {THERMAL.format("300, 500 and 800")}
Na8Cl8+ (a doublet) is Na9Cl8+ (closed shell) without its outermost sodium; the total charge is +1 in both, so
only the presence of that far atom tells the charges. Seeds 201 and 202.""",
    "nacl_crystal": """# Sodium chloride crystals

Sampling: rock salt, 64 atoms, cubic lattice constant 5.64 Å, strained (isotropic -2 to +5 %, plus a symmetric
matrix of normal noise, 1.5 % per triangle) and displaced by normal noise of 0.08, 0.15 or 0.25 Å (`sigma`),
clipped at twice that. Γ point only. Seed 301.""",
}

SPLIT_RULE = """Split: groups are numbered as they are made (a `geom_id`, otherwise the running number within
a `config_type`); of every ten, the ninth goes to `valid`, the tenth to `test`, the others to `train`."""

CHECKS_DONE = """Checks against central differences of the energy (four force components with 0.005 Å; the xx
and xy stress with a strain of 0.001); charges add up to the total charge exactly as printed."""


def datasheet(data: DataSet) -> str:
    paragraphs = [
        SAMPLING[data.name],
        f"Level: {METHOD} with tblite {version('tblite')}, electronic temperature 300 K, "
        f"accuracy {ACCURACY}, Mulliken charges.\n"
        f"Left out: frames whose charges did not converge or that hold a force above {LARGEST_FORCE:g} eV/Å.",
        keys(data),
        SPLIT_RULE,
        counts(data),
        CHECKS_DONE,
        checks(data.checks),
        f"Made by `cd data && python -m generate {data.name}`. Licence: CC0 1.0 (public domain).",
    ]
    return "\n\n".join(paragraphs) + "\n"


def keys(data: DataSet) -> str:
    own = (
        "`REF_stress` (eV/Å³, xx yy zz yz xz xy, +dE/dstrain/V)"
        if data.frames[0].labels.stress is not None
        else "`REF_dipole` (e Å, about the centre of mass)"
    )
    return (
        "Keys: `REF_energy` (eV), `REF_forces` (eV/Å), `REF_charges` (e), `total_charge` (e), "
        f"{own}.\nPositions have {DIGITS} decimals; labels were computed at the printed positions."
    )


def counts(data: DataSet) -> str:
    """A table of the splits."""
    columns = ["split", "frames", "atoms", "total charges", "energy per atom", "force rms, max", "net force"]
    rows = [columns, ["---"] * len(columns), *(count(name, data.split(name)) for name in SPLITS)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def count(name: str, frames: list[Frame]) -> list[str]:
    forces = np.concatenate([frame.labels.forces.reshape(-1) for frame in frames])
    energies = [frame.labels.energy / len(frame.candidate.atoms) for frame in frames]
    net = max(np.abs(frame.labels.forces.sum(axis=0)).max() for frame in frames)
    charges = sorted({frame.candidate.state.total_charge for frame in frames})
    return [
        name,
        str(len(frames)),
        str(sum(len(frame.candidate.atoms) for frame in frames)),
        ", ".join(f"{charge:+d}" if charge else "0" for charge in charges) + " e",
        f"{min(energies):.4f} to {max(energies):.4f} eV",
        f"{np.sqrt(np.mean(forces**2)):.3f}, {np.abs(forces).max():.2f} eV/Å",
        f"{net:.0e} eV/Å",
    ]


def checks(done: list[Check]) -> str:
    """A table of the finite-difference errors."""
    rows = ["| frame | force error (eV/Å) | stress error (eV/Å³) |", "|---|---|---|"]
    for one in done:
        stress = "-" if one.stress_error is None else f"{one.stress_error:.1e}"
        rows.append(f"| {one.frame} | {one.force_error:.1e} | {stress} |")
    return "\n".join(rows)
