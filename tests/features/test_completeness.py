"""Two neighbourhoods that chains of contractions cannot tell apart, and that the complete sets can.

Five neighbours on one shell have seven shape parameters; at l_max 3 and up to four moments, the chains that CACE uses
give six numbers. So to almost any five directions there is a one-dimensional family of others with the same six: from
random directions SECOND, Newton steps of least norm made its six numbers those of FIRST, of 60 random starts the
pair that the complete set tells apart best. Distances between neighbours of a pair exceed 0.88 of the shell's radius.
"""

import pytest
import torch
from torch import Tensor

from cace_qeq.features import (
    Couplings,
    degrees,
    harmonic_degrees,
    harmonics,
    independent_monomials,
    monomials,
    sphere_products,
)

FIRST = [
    [0.9877402304624836, 0.09631593263136083, -0.1228514478843091],
    [-0.6017339081056078, 0.7878976389110379, -0.13089543320667724],
    [0.27292693632128906, 0.48655773830848953, -0.8299231619387438],
    [-0.8194529769049809, -0.05885501479022143, -0.5701165721811702],
    [0.3577481641891983, -0.357826359968684, 0.8625407509972036],
]
SECOND = [
    [-0.5324381091892031, -0.7024232493760453, -0.47234652387735915],
    [0.01379203891431144, 0.7219938103505794, -0.6917620381880157],
    [0.4982348340134244, 0.8665723959374916, 0.02853651651429888],
    [-0.02201485718193791, 0.25043685816720734, 0.9678825993552095],
    [0.38602000755466814, -0.4340720824826316, -0.8139840176420453],
]
L_MAX = 3


def directions(rows: list[list[float]]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def weights(degree: tuple[int, ...]) -> Tensor:
    """One weight for each degree and channel, as mixing gives them on a single shell.  (component, channel)"""
    by_degree = torch.randn(L_MAX + 1, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return by_degree[list(degree)]


def contractions(kind: str, rows: list[list[float]]) -> Tensor:
    """(invariant, channel)"""
    moments = monomials(directions(rows), L_MAX).sum(0).unsqueeze(-1) * weights(degrees(L_MAX))
    return Couplings(L_MAX, 4, kind)(moments.unsqueeze(0))[0]


def means_of_powers(order: int, rows: list[list[float]]) -> Tensor:
    """(channel,)  of the density as a function on the sphere"""
    components = harmonics(independent_monomials(directions(rows), L_MAX), L_MAX).sum(0).unsqueeze(-1)
    tables = sphere_products(L_MAX, order, 0)
    return tables(components * weights(harmonic_degrees(L_MAX)))[-1, 0]


def test_the_environments_differ():
    """No rotation or reflection takes one into the other: their neighbours' distances differ."""
    first, second = (torch.pdist(directions(rows)).sort().values for rows in (FIRST, SECOND))
    assert (first - second).abs().max() > 0.05


def test_chains_do_not_see_the_difference():
    torch.testing.assert_close(contractions("paths", FIRST), contractions("paths", SECOND), rtol=0, atol=1e-9)


def test_the_complete_set_does():
    first, second = contractions("complete", FIRST), contractions("complete", SECOND)
    assert ((first - second).abs() > 0.1 * first.abs()).any(dim=0).all()  # in every channel


@pytest.mark.parametrize("order", [3, 4])
def test_products_on_the_sphere_do(order):
    first, second = means_of_powers(order, FIRST), means_of_powers(order, SECOND)
    assert ((first - second).abs() / first.abs()).min() > 1e-3


def test_products_of_two_see_as_much_as_chains_of_two():
    torch.testing.assert_close(means_of_powers(2, FIRST), means_of_powers(2, SECOND), rtol=1e-9, atol=0)
