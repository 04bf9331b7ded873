"""The four systems: which geometries and charge states are labelled, in a fixed order from fixed seeds."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from ase import Atoms
from ase.build import bulk

from generate.engine import Array, ChargeState
from generate.sampling import centred, hessian, random_rotation, relaxed, thermal_samples

Info = dict[str, int | float | str]


@dataclass(frozen=True)
class Candidate:
    """A geometry to be labelled; `group` decides the split and keeps charge states together."""

    atoms: Atoms
    state: ChargeState
    group: int | None = None
    info: Info = field(default_factory=dict)


@dataclass(frozen=True)
class Stream:
    """Candidates of one kind, of which the first `n_frames` acceptable ones are kept."""

    n_frames: int
    candidates: Iterator[Candidate]


def silver_trimers() -> list[Stream]:
    """Ag3+ and Ag3- at the same random triangles: only the total charge tells them apart."""
    return [Stream(1000, silver_pairs(np.random.default_rng(2021)))]


def silver_pairs(generator: np.random.Generator) -> Iterator[Candidate]:
    group = 0
    while True:
        positions = triangle(generator)
        if np.linalg.norm(positions[0] - positions[2]) < 2.3:
            continue
        atoms = centred(Atoms("Ag3", positions @ random_rotation(generator).T))
        for total_charge in (1, -1):
            yield Candidate(atoms, ChargeState(total_charge), group, {"geom_id": group})
        group += 1


def triangle(generator: np.random.Generator) -> Array:
    """(3, 3)  Å  two bonds from N(2.70, 0.16) within 2.3-3.4 Å at an angle of 48-180 degrees."""
    angle = np.deg2rad(generator.uniform(48, 180))
    first, second = np.clip(generator.normal(2.70, 0.16, 2), 2.3, 3.4)
    return np.array([[first, 0, 0], [0, 0, 0], [second * np.cos(angle), second * np.sin(angle), 0]])


def carbon_chains() -> list[Stream]:
    """C10H2 and C10H3+: protonation at one end moves charge along the whole chain."""
    neutral, ion = carbon_chain([[0, 0, -1.06]]), carbon_chain([[0.93, 0, -0.53], [-0.93, 0, -0.53]])
    temperatures = (300.0, 600.0, 1000.0)
    return [
        Stream(500, thermal_candidates(relaxed(neutral, ChargeState(0)), ChargeState(0), temperatures, 101)),
        Stream(500, thermal_candidates(relaxed(ion, ChargeState(1)), ChargeState(1), temperatures, 102)),
    ]


def carbon_chain(first_hydrogens: list[list[float]]) -> Atoms:
    """Ten carbons along z with alternating bonds, one hydrogen at the far end."""
    bonds = [1.22 if i % 2 == 0 else 1.36 for i in range(9)]
    heights = np.concatenate([[0.0], np.cumsum(bonds)])
    carbons = [[0.0, 0.0, z] for z in heights]
    positions = [*carbons, [0.0, 0.0, heights[-1] + 1.06], *first_hydrogens]
    return Atoms(f"C10H{1 + len(first_hydrogens)}", positions)


def sodium_chloride_clusters() -> list[Stream]:
    """Na9Cl8+ and, without its outermost sodium, Na8Cl8+: only that far atom tells the charges."""
    whole, open_shell = ChargeState(1), ChargeState(1, unpaired=1)
    temperatures = (300.0, 500.0, 800.0)
    nine = relaxed(na9cl8(), whole)
    eight = nine.copy()
    del eight[len(eight) - 1]
    return [
        Stream(1200, thermal_candidates(nine, whole, temperatures, 201)),
        Stream(1200, thermal_candidates(relaxed(eight, open_shell), open_shell, temperatures, 202)),
    ]


def na9cl8() -> Atoms:
    """A 2 x 2 x 4 block of rock salt with one more sodium (the last atom) above a chlorine of its top."""
    spacing = 2.75
    sites = [(i, j, k) for i in range(2) for j in range(2) for k in range(4)]
    symbols = ["Na" if sum(site) % 2 == 0 else "Cl" for site in sites]
    top = next(site for site, symbol in zip(sites, symbols, strict=True) if symbol == "Cl" and site[2] == 3)
    return Atoms([*symbols, "Na"], spacing * np.array([*sites, (top[0], top[1], 4)]))


def thermal_candidates(
    minimum: Atoms, state: ChargeState, temperatures: tuple[float, ...], seed: int
) -> Iterator[Candidate]:
    """The minimum, then harmonic samples about it, numbered for the split."""
    name = minimum.get_chemical_formula("metal") + ("+" if state.total_charge else "")
    yield Candidate(minimum, state, 0, {"config_type": f"{name}_minimum"})
    samples = thermal_samples(minimum, hessian(minimum, state), temperatures, np.random.default_rng(seed))
    for atoms, temperature in samples:
        yield Candidate(atoms, state, None, {"config_type": name, "temperature": temperature})


def sodium_chloride_crystal() -> list[Stream]:
    """Rock salt, 64 atoms, strained and displaced at random."""
    return [Stream(160, distorted_crystals(np.random.default_rng(301)))]


def distorted_crystals(generator: np.random.Generator) -> Iterator[Candidate]:
    perfect = bulk("NaCl", "rocksalt", a=5.64, cubic=True) * (2, 2, 2)
    while True:
        for spread in (0.15, 0.25, 0.08):
            atoms = perfect.copy()
            atoms.set_cell(np.asarray(atoms.cell) @ (np.eye(3) + random_strain(generator)), scale_atoms=True)
            noise = generator.normal(0, spread, (len(atoms), 3))
            atoms.positions += np.clip(noise, -2 * spread, 2 * spread)
            yield Candidate(atoms, ChargeState(0), None, {"sigma": spread})


def random_strain(generator: np.random.Generator) -> Array:
    """(3, 3)  symmetric: -2 to +5 % isotropic, and normal noise of 1.5 % per triangle."""
    isotropic = generator.uniform(-0.02, 0.05) * np.eye(3)
    noise = generator.normal(size=(3, 3))
    return np.asarray(isotropic + 0.015 * (noise + noise.T))
