"""The parts of a model, as its configuration describes them."""

from collections.abc import Sequence

from cace_qeq.config import ModelConfig
from cace_qeq.nn.ace import CartesianACE, ExpansionSettings
from cace_qeq.nn.bonds import BondSoftness, BondWiring, ExcessCharge
from cace_qeq.nn.charges import (
    ChargeHeads,
    Electronegativity,
    ElementHardness,
    EnvironmentHardness,
    FixedHardness,
    FixedWidths,
    LearnedWidths,
    covalent_widths,
    initial_stiffness,
)
from cace_qeq.nn.covariants import MessageSettings
from cace_qeq.nn.equivariant import EquivariantACE
from cace_qeq.nn.feedback import EmbeddingFeedback, NoFeedback, ReadoutFeedback
from cace_qeq.nn.repulsion import ScreenedRepulsion
from cace_qeq.nn.shells import ShellWalls


def representation(config: ModelConfig) -> CartesianACE | EquivariantACE:
    if config.message_rank == 0:
        return CartesianACE(expansion(config), config.layers, config.message_channels)
    message = MessageSettings(
        config.message_rank,
        config.message_channels,
        config.quadrature_degree,
        config.residual,
        config.normalization,
        config.product_passes,
    )
    return EquivariantACE(expansion(config), config.layers, message)


def expansion(config: ModelConfig) -> ExpansionSettings:
    return ExpansionSettings(
        len(config.species),
        config.cutoff,
        config.n_radial,
        config.species_channels,
        config.channels,
        config.l_max,
        config.body_order,
        config.couplings,
        config.compression,
    )


def widths(config: ModelConfig) -> Sequence[float]:
    return covalent_widths(config.species) if config.widths is None else config.widths


def charge_heads(config: ModelConfig, n_features: int) -> ChargeHeads | None:
    if config.energy == "none":
        return None
    stiffness = [initial_stiffness(z, width) for z, width in zip(config.species, widths(config), strict=True)]
    electronegativity = Electronegativity(config.species, stiffness, n_features, config.hidden)
    width = LearnedWidths(widths(config)) if config.learn_widths else FixedWidths(widths(config))
    return ChargeHeads(electronegativity, hardness(config, n_features), width)


def hardness(config: ModelConfig, n_features: int) -> ElementHardness:
    if config.environment_hardness:
        return EnvironmentHardness(config.species, widths(config), n_features, config.hidden)
    return (ElementHardness if config.learn_hardness else FixedHardness)(config.species, widths(config))


def shell_walls(config: ModelConfig, n_features: int) -> ShellWalls | None:
    return ShellWalls(len(config.species), n_features, config.hidden) if config.closed_shells else None


def wiring(config: ModelConfig, n_features: int) -> BondWiring | None:
    if config.charge_flow == "free":
        return None
    excess = ExcessCharge(config.species, n_features, config.hidden)
    return BondWiring(BondSoftness(config.species, config.cutoff), excess)


def repulsion(config: ModelConfig) -> ScreenedRepulsion | None:
    return ScreenedRepulsion(config.species, config.cutoff) if config.repulsion == "screened" else None


def charge_feedback(config: ModelConfig, n_features: int) -> NoFeedback:
    if config.charge_feedback == "readout":
        return ReadoutFeedback(n_features)
    if config.charge_feedback == "embedding":
        return EmbeddingFeedback(expansion(config), n_features, config.message_channels)
    return NoFeedback(n_features)
