"""Whether members of a committee disagree where they are wrong."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from cace_qeq.committee import Committee, predict_committee
from cace_qeq.structures import PROPERTIES
from cace_qeq.training.data import Example
from cace_qeq.training.loss import Comparison, compare
from cace_qeq.training.metrics import (
    REPORTED,
    Evaluation,
    Metrics,
    born_charges_for,
    evaluation_of,
    refuse_infinite,
    unwatched,
)

FEWEST = 3  # values, below which ranks say nothing


def evaluate_committee(
    committee: Committee, batches: Iterable[Example], on_batch: Callable[[int], None] = unwatched
) -> tuple[Evaluation, Metrics]:
    """Errors of the mean, and the spread beside them (`spread_metrics`).

    on_batch  called after each batch with the number of its structures, e.g. to move a progress bar

    raises  FloatingPointError for predictions that are not finite
    """
    means, spreads, sizes = [], [], []
    for example in batches:
        batch, labels = example.batch.to(committee.device), example.labels.to(committee.device)
        consensus = predict_committee(committee, batch)
        born = [born_charges_for(labels, member, batch) for member in committee.members]
        known = [of_member for of_member in born if of_member is not None]
        mean, spread = (torch.stack(known).mean(0), torch.stack(known).std(0)) if known else (None, None)
        means.append(compare(consensus.mean, labels, batch, 1.0, mean))
        refuse_infinite(means[-1], committee.config)
        spreads.append(compare(consensus.spread, labels, batch, 1.0, spread))
        sizes.append((batch.n_structures, batch.n_atoms))
        on_batch(batch.n_structures)
    return evaluation_of(means, sizes), spread_metrics(means, spreads)


def spread_metrics(means: Sequence[tuple[Comparison, ...]], spreads: Sequence[tuple[Comparison, ...]]) -> Metrics:
    """Three numbers for each property, None where nothing is labelled or predicted, or of too few values the last.

    spread_PROPERTY_rms_UNIT     root mean square of the standard deviation over members
    spread_PROPERTY_error_ratio  root mean square error of the mean by it; above one, members agree more than they may
    spread_PROPERTY_correlation  of the ranks of spread and absolute error, over all values
    """
    found: Metrics = {}
    rows = zip(PROPERTIES, zip(*means, strict=True), zip(*spreads, strict=True), strict=True)
    for name, by_mean, by_spread in rows:
        error = torch.cat([comparison.error for comparison in by_mean]).abs().cpu()
        spread = torch.cat([comparison.predicted for comparison in by_spread]).cpu()
        suffix, factor = REPORTED[name]
        size = float(spread.square().mean().sqrt())
        known = size > 0  # not for NaN
        found[f"spread_{name}_rms_{suffix}"] = factor * size if known else None
        found[f"spread_{name}_error_ratio"] = float(error.square().mean().sqrt()) / size if known else None
        found[f"spread_{name}_correlation"] = (
            rank_correlation(spread, error) if known and len(error) >= FEWEST else None
        )
    return found


def rank_correlation(first: Tensor, second: Tensor) -> float:
    """Spearman's, of values without ties."""
    ranks = torch.stack([values.argsort().argsort().double() for values in (first, second)])
    return float(torch.corrcoef(ranks)[0, 1])
