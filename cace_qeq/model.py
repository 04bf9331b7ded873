"""The potential: a batch of structures to its energies and charges."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from cace_qeq.charged import Charged, Wishes, equilibrium_of
from cace_qeq.config import ModelConfig
from cace_qeq.electrostatics import Solver
from cace_qeq.nn.ace import Environments, environments
from cace_qeq.nn.charges import LARGEST_WIDTH_FACTOR
from cace_qeq.nn.heads import Readout
from cace_qeq.nn.precision import KeepsDoubleBuffers
from cace_qeq.nn.species import SpeciesIndex
from cace_qeq.parts import charge_feedback, charge_heads, representation, repulsion, shell_walls, widths, wiring
from cace_qeq.structures.batch import AtomicBatch, GeometrySettings, expect_batch

ROUNDING = 1e-6  # of widths, where a model has changed its precision


@dataclass(frozen=True)
class Energies:
    """What the model says of a batch, differentiable; float64.

    short_range         (atom,)       eV    reference energies included
    electrostatic       (structure,)  eV    zero without charges
    atom_electrostatic  (atom,)       eV    its parts, that add up to it
    charges             (atom,)       e     NaN without charges
    electronegativity   (atom,)       eV/e  NaN without charges
    moments             (structure, 3)  e Å   of charge that flowed along bonds from neutral atoms, NaN without that
    structure           (atom,)             which structure each atom belongs to
    """

    short_range: Tensor
    electrostatic: Tensor
    atom_electrostatic: Tensor
    charges: Tensor
    electronegativity: Tensor
    moments: Tensor
    structure: Tensor

    @property
    def total(self) -> Tensor:
        """(structure,)  eV"""
        return self.per_structure(self.short_range) + self.electrostatic

    def per_structure(self, values: Tensor) -> Tensor:
        """Sum over the atoms of each structure.  (atom, ...) -> (structure, ...)"""
        n_structures = len(self.electrostatic)
        if n_structures == 1:
            return values.sum(0, keepdim=True)
        return values.new_zeros(n_structures, *values.shape[1:]).index_add(0, self.structure, values)


class CACEQEq(KeepsDoubleBuffers):
    """Cartesian atomic cluster expansion with charge equilibration.

    provenance   how the model came to be (plain values; saved with it)
    solver       how charges are found (not saved: set it before batches are made)
    generated    code for `predict`, or None from it (`compile_networks` sets it; not saved)
    """

    double_buffers = ("reference_energies", "energy_scale")
    reference_energies: Tensor
    energy_scale: Tensor

    def __init__(self, config: ModelConfig):
        super().__init__()
        if not isinstance(config, ModelConfig):
            raise TypeError(
                f"config is {type(config).__name__}, expected a ModelConfig: ModelConfig(species=..., ...)."
            )
        self.config = config
        self.provenance: dict[str, Any] = {}
        self.solver = Solver()
        self.generated: Callable[[AtomicBatch], Any] | None = None
        self.species = SpeciesIndex(config.species)
        self.representation = representation(config)
        self.charge_heads = charge_heads(config, self.representation.n_features)
        self.shell_walls = shell_walls(config, self.representation.n_features)
        self.wiring = wiring(config, self.representation.n_features)
        self.feedback = charge_feedback(config, self.representation.n_features)
        self.energy_head = Readout(self.feedback.n_features, config.hidden)
        self.repulsion = repulsion(config)
        self.register_buffer("reference_energies", torch.zeros(len(config.species), dtype=torch.float64))
        self.register_buffer("energy_scale", torch.ones((), dtype=torch.float64))

    @property
    def geometry(self) -> GeometrySettings:
        """What batches for this model must hold."""
        if self.charge_heads is None:
            return GeometrySettings(self.config.cutoff)
        factor = LARGEST_WIDTH_FACTOR if self.config.learn_widths else 1.0
        return GeometrySettings(
            self.config.cutoff,
            factor * max(widths(self.config)),
            self.config.ewald_accuracy,
            self.solver.method,
            self.solver.mesh_accuracy,
            self.wiring is not None,
        )

    @property
    def frozen_geometry(self) -> GeometrySettings:
        """The same while the widths of the charges stay as they are: often shorter lists than those for training."""
        if self.charge_heads is None:
            return self.geometry
        every_species = torch.arange(len(self.config.species), device=self.reference_energies.device)
        return replace(self.geometry, largest_width=float(self.charge_heads.width(every_species).detach().max()))

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the network; geometry, electrostatics and energies are float64 in any case."""
        return self.energy_head.linear.weight.dtype

    def forward(self, batch: AtomicBatch) -> Energies:
        """Raises TypeError for anything but a batch, ValueError for one of unknown elements or of a narrower model."""
        expect_batch(batch, "the model")
        species = self.species(batch.numbers)
        around = self.environments(batch)
        features = self.representation(around, species)
        if self.charge_heads is None:
            return without_charges(batch, self.short_range(batch, features, species))
        return self.energies(batch, around, features, self.charged(batch, features, species), species)

    def energies(
        self, batch: AtomicBatch, around: Environments, features: Tensor, charged: Charged, species: Tensor
    ) -> Energies:
        """Of charges that have been found."""
        charges = charged.equilibrium.charges
        features = self.feedback(around, features, charges, species)
        return Energies(
            self.short_range(batch, features, species),
            charged.stationary_energy if self.config.energy == "equilibrated" else charged.coulomb_energy,
            charged.stationary_parts if self.config.energy == "equilibrated" else charged.coulomb_parts,
            charges,
            charged.wishes.parameters.electronegativity,
            charged.moments,
            batch.structure,
        )

    def refuse_half_precision(self) -> None:
        """Raise ValueError where the network would be less precise than float32: energies were 42 meV off."""
        if self.dtype not in (torch.float32, torch.float64) or torch.is_autocast_enabled(self.energy_scale.device.type):
            raise ValueError("the network is in half precision; use float32 or float64, and no torch.autocast")

    def refuse_batch_of_another(self, made_for: GeometrySettings) -> None:
        """Raise ValueError for the geometry of a batch that may lack pairs or accuracy, or has other sums."""
        needed, charged = self.geometry, self.charge_heads is not None
        if made_for.largest_width < needed.largest_width:
            needed = self.frozen_geometry
        if charged and made_for.bonded != needed.bonded:
            raise ValueError(
                "the batch was made for charge that flows the other way, freely or along bonds; "
                "make batches with the geometry of the model that they are for"
            )
        narrower = made_for.cutoff < needed.cutoff or made_for.largest_width < (1 - ROUNDING) * needed.largest_width
        coarser = made_for.accuracy > needed.accuracy or made_for.mesh_accuracy > needed.mesh_accuracy
        if narrower or (charged and coarser):
            raise ValueError(
                f"the batch was made for {described(made_for)}, this model has {described(needed)}; "
                "make batches with the geometry of the model that they are for"
            )

    def environments(self, batch: AtomicBatch) -> Environments:
        """Neighbours' radial and angular functions in the precision of the network.

        Raises ValueError for a batch that `refuse_batch_of_another` refuses, and in half precision.
        """
        self.refuse_half_precision()
        self.refuse_batch_of_another(batch.geometry)
        return environments(batch.displacements().to(self.dtype), batch.neighbors.index, self.representation.settings)

    def charged(self, batch: AtomicBatch, features: Tensor, species: Tensor) -> Charged:
        """Charges that minimise E_qeq under the conditions of the batch; for models with charges."""
        return equilibrium_of(batch, self.wishes(batch, features, species), self.config.background, self.solver)

    def wishes(self, batch: AtomicBatch, features: Tensor, species: Tensor) -> Wishes:
        """What charges are found from; for models with charges."""
        assert self.charge_heads is not None
        walls = None if self.shell_walls is None else self.shell_walls(features, species)
        wires = None
        if self.wiring is not None:
            wires = self.wiring(batch.displacements(), batch.neighbors.index, features, species)
        return Wishes(self.charge_heads(features, species), walls, wires)

    @property
    def is_network_alone(self) -> bool:
        """Whether energies are those that the network reads from its features, and nothing else."""
        return self.config.energy == "none" and self.repulsion is None

    def short_range(self, batch: AtomicBatch, features: Tensor, species: Tensor) -> Tensor:
        """(atom,)  eV"""
        references = self.reference_energies.index_select(0, species)
        energy = references + self.energy_scale * self.energy_head(features).double()
        if self.repulsion is None:
            return energy
        return energy + self.repulsion(batch.displacements(), batch.neighbors.index, species)

    def set_reference_energies(self, energies: Tensor) -> None:
        """energies  (species,)  eV, of the isolated atoms or from least squares, in the order of config.species"""
        self.reference_energies.copy_(energies)

    def set_energy_scale(self, scale: float) -> None:
        """scale  eV, for one unit of the energy head's output; the RMS force times 1 Å serves well"""
        self.energy_scale.fill_(scale)

    @torch.no_grad()
    def calibrate(self, batch: AtomicBatch) -> None:
        """Standardise all features on typical structures, before training starts."""
        species = self.species(batch.numbers)
        around = self.environments(batch)
        self.representation.calibrate(around, species)
        if self.charge_heads is None:
            return
        features = self.representation(around, species)
        charged = self.charged(batch, features, species)
        self.feedback.calibrate(around, features, charged.equilibrium.charges, species)


def described(geometry: GeometrySettings) -> str:
    if geometry.largest_width == 0:
        return f"a cutoff of {geometry.cutoff:g} Å and no charges"
    return (
        f"a cutoff of {geometry.cutoff:g} Å, charges as wide as {geometry.largest_width:g} Å, "
        f"an accuracy of {geometry.accuracy:g} and {geometry.mesh_accuracy:g} on a mesh"
    )


def without_charges(batch: AtomicBatch, short_range: Tensor) -> Energies:
    """short_range (atom,)  eV"""
    zero, missing = torch.zeros_like(short_range), torch.full_like(short_range, torch.nan)
    nowhere = torch.full_like(batch.cells[:, 0], torch.nan)
    none = torch.zeros_like(batch.total_charge)
    return Energies(short_range, none, zero, missing, missing, nowhere, batch.structure)
