"""What a model is: every choice that its parameters' shapes and its physics depend on."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from cace_qeq.nn.elements import COVALENT_RADII
from cace_qeq.strict import Settings
from cace_qeq.structures import Atoms

PRESETS: dict[str, dict[str, Any]] = {
    "XS": {"layers": 1, "channels": 16, "body_order": 3, "hidden": (32,)},
    "S": {"layers": 2, "channels": 32, "body_order": 3, "message_rank": 1, "message_channels": 32},
    "M": {"layers": 2, "channels": 64, "body_order": 4, "message_rank": 1, "message_channels": 32},
    "L": {"layers": 2, "channels": 128, "body_order": 4, "message_rank": 2, "message_channels": 64},
    "L4": {"layers": 2, "channels": 128, "body_order": 4, "message_rank": 2, "message_channels": 64, "l_max": 4},
}
ON_THE_SPHERE = ("quadrature_degree", "residual", "normalization", "product_passes")
BY_CONTRACTION = ("couplings", "compression")
LARGEST_PATH = 4  # densities in the largest of CACE's path invariants
OF_CHARGES = ("learn_hardness", "environment_hardness", "widths", "learn_widths", "background", "ewald_accuracy")


def preset_settings(name: str) -> dict[str, Any]:
    """What a preset sets.  Raises ValueError for another name."""
    if not isinstance(name, str) or name not in PRESETS:
        raise ValueError(f"there is no preset {name!r}; choose one of {', '.join(PRESETS)}.")
    return PRESETS[name]


def number_of(element: Any) -> Any:
    """The atomic number of a symbol; anything else stays as it is.

    Raises ValueError for a word that is no symbol.
    """
    try:
        return int(Atoms([element]).numbers[0]) if isinstance(element, str) else element
    except KeyError:
        raise ValueError(f"{element!r} is not the symbol of an element; give symbols or atomic numbers.") from None


class ModelConfig(Settings):
    """Settings of a CACEQEq model; frozen, and an unknown field is an error.

    species               elements: atomic numbers, or symbols, which become these
    cutoff                Å, of the atomic environments
    energy                "equilibrated": E_sr + E_qeq at its minimum over the charges (NequIP-LR);
                          "coulomb": E_sr + q.A q / 2 (4G-HDNNP); "none": E_sr alone, no charges
    layers                rounds of the expansion; each after the first sends messages
    channels              of the density after mixing
    species_channels      of the element embedding
    message_rank          0: atoms send scalars; 1 to 3: covariants up to this rank, with products on the sphere
    message_channels      scalars, or covariants of each rank, that an atom sends in the rounds after the first
    n_radial              Bessel functions
    l_max                 largest degree of the monomials
    body_order            ν, densities in the largest product
    quadrature_degree     of the products on the sphere; by default the lowest exact one
    residual              atoms keep their own covariants from round to round
    normalization         "rms": each atom's moments are divided by their size before products, smoothly
    product_passes        2: products of products, of up to ν² densities in each round
    couplings             with message_rank 0: "complete", all independent invariants, or "paths", CACE's subset
    compression           with message_rank 0: "none", invariants keep their polynomial growth, or "asinh", they grow
                          like a logarithm beyond their spread in the training set
    hidden                widths of the readouts' hidden layers
    repulsion             "screened": nuclei repel each other at short distance, with strength and range learned for
                          each pair of elements; for structures more compressed than the training data
    charge_feedback       "none", "readout" or "embedding": how charges enter the short-range energy
    learn_hardness        hardness of the elements is trained, or stays that of the free atoms
    environment_hardness  hardness depends on the environment too, within ± 50 %
    closed_shells         atoms are harder beyond charges that are learned: for ions and holes, where some atoms keep
                          their charge whatever happens elsewhere
    charge_flow           "free": between all atoms at any distance, as in a metal; "bonds": between neighbours, with a
                          softness that is learned and dies with distance, so that fragments end with whole charges
    widths                Å, Gaussian width of each element in the order of `species`; covalent radii by default
    learn_widths          widths are trained, within a factor of two of their start
    background            of charged cells: "point" or "gaussian"
    ewald_accuracy        relative size of the first neglected term of either sum
    """

    species: tuple[int, ...] = Field(min_length=1)
    cutoff: float = Field(gt=0, le=20)
    energy: Literal["equilibrated", "coulomb", "none"] = "equilibrated"
    layers: int = Field(2, ge=1, le=6)
    channels: int = Field(32, ge=1)
    species_channels: int = Field(4, ge=1)
    message_rank: int = Field(0, ge=0, le=3)
    message_channels: int = Field(16, ge=1)
    n_radial: int = Field(8, ge=1)
    l_max: int = Field(3, ge=0, le=6)
    body_order: int = Field(3, ge=1, le=5)
    quadrature_degree: int | None = None
    residual: bool = False
    normalization: Literal["none", "rms"] = "none"
    product_passes: int = Field(1, ge=1, le=2)
    couplings: Literal["complete", "paths"] = "complete"
    compression: Literal["none", "asinh"] = "none"
    hidden: tuple[Annotated[int, Field(ge=1)], ...] = (64, 32)
    repulsion: Literal["none", "screened"] = "none"
    charge_feedback: Literal["none", "readout", "embedding"] = "none"
    learn_hardness: bool = True
    environment_hardness: bool = False
    closed_shells: bool = False
    charge_flow: Literal["free", "bonds"] = "free"
    widths: tuple[float, ...] | None = None
    learn_widths: bool = False
    background: Literal["point", "gaussian"] = "point"
    ewald_accuracy: float = Field(1e-10, gt=1e-15, lt=1e-2)

    @classmethod
    def preset(cls, name: str, **changes: Any) -> "ModelConfig":
        """Settings by size, "XS", "S", "M", "L" or "L4"; species and cutoff are always the caller's.

        Raises ValueError for another name.
        """
        return cls(**{**preset_settings(name), **changes})

    @field_validator("species", mode="before")
    @classmethod
    def _numbers_of_symbols(cls, species: Any) -> Any:
        return [number_of(element) for element in species] if isinstance(species, list | tuple) else species

    @field_validator("species")
    @classmethod
    def _known_and_different(cls, species: tuple[int, ...]) -> tuple[int, ...]:
        for number in species:
            if not 1 <= number < len(COVALENT_RADII):
                raise ValueError(f"{number} is not an atomic number between 1 and {len(COVALENT_RADII) - 1}")
        if len(set(species)) < len(species):
            raise ValueError(f"{list(species)} names an element twice")
        return species

    @field_validator("widths")
    @classmethod
    def _positive(cls, widths: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if widths is not None and min(widths, default=0.0) <= 0:
            raise ValueError(f"Gaussian widths must be positive (Å), got {list(widths)}")
        return widths

    def model_post_init(self, context: Any) -> None:
        if self.widths is not None and len(self.widths) != len(self.species):
            raise ValueError(f"{len(self.widths)} widths for {len(self.species)} species; give one for each, in order")
        if self.message_rank > self.l_max:
            raise ValueError(f"message_rank is {self.message_rank}, but l_max only {self.l_max}; raise l_max")
        if self.message_rank == 0:
            self._keep_default(ON_THE_SPHERE, "is for equivariant messages; set message_rank to 1, 2 or 3 with it")
        elif self.charge_feedback != "embedding":  # whose own round is one of contractions
            self._keep_default(BY_CONTRACTION, "is for invariant messages; set message_rank to 0 with it")
        if self.couplings == "paths" and self.body_order > LARGEST_PATH:
            raise ValueError(
                f"body_order is {self.body_order}, but CACE's paths end at {LARGEST_PATH}; lower it, or choose "
                "complete couplings"
            )
        if self.layers == 1:
            self._keep_default(("residual",), "joins two rounds; set layers to 2 or more with it")
        if self.energy == "none":
            self._keep_default(OF_CHARGES, 'is for charges, of which energy="none" has none')
        if self.environment_hardness and not self.learn_hardness:
            raise ValueError("environment_hardness is learned; set learn_hardness to true with it, or leave it out")
        if self.energy == "none" and self.closed_shells:
            raise ValueError('energy="none" has no charges that closed_shells could hold; choose another energy')
        if self.energy == "none" and self.charge_flow != "free":
            raise ValueError('energy="none" has no charges that flow; set charge_flow="free" or choose another energy')
        if self.energy == "none" and self.charge_feedback != "none":
            raise ValueError(
                f'energy="none" has no charges to feed back; set charge_feedback="none" '
                f"(got {self.charge_feedback!r}) or choose another energy"
            )

    def _keep_default(self, names: tuple[str, ...], reason: str) -> None:
        for name in names:
            if self.is_changed(name):
                raise ValueError(f"{name} {reason}")
