"""The network recorded: what operations cost to be called, which is most of the time of a molecule, is saved.

On a processor torch.fx records the operations of one evaluation, and torch's inductor turns them and their derivatives
into C++: all that lies between positions, energies and slopes of a model without charges, and of a molecule or crystal
whose charges come from a matrix; of all else the features and their derivatives apart. Measured to pay for structures
of up to about a hundred atoms on one core. On a GPU they become CUDA graphs.
"""

from torch import nn

from cace_qeq.compilation.charged import has_plain_charges
from cace_qeq.compilation.features import CompiledRepresentation
from cace_qeq.compilation.whole import GeneratedCode
from cace_qeq.model import CACEQEq


def compile_networks(potential: nn.Module) -> None:
    """Let a model, or all members of a committee, compute by generated code: for evaluation alone.

    On a processor that is the whole of a model without charges, and of one with charges where `charged.is_alone`; of
    others, and on a GPU, its features.
    """
    for model in potential.modules():
        if not isinstance(model, CACEQEq) or isinstance(model.representation, CompiledRepresentation):
            continue
        on_processor = model.reference_energies.device.type == "cpu"
        if on_processor and (model.is_network_alone or has_plain_charges(model)):
            model.generated = GeneratedCode(model)
        if not (on_processor and model.is_network_alone):
            model.set_submodule("representation", CompiledRepresentation(model.representation))
