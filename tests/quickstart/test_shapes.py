import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.optimize import BFGS

from cace_qeq.quickstart.plan import START_ANGLE, START_BOND, bent_trimer
from cace_qeq.quickstart.shapes import REFERENCE, REFERENCE_START, REFERENCE_STRAIGHT, shape_of, widest_angle


def trimer(positions: list[list[float]], charges: tuple[float, ...] = (0.0, 0.0, 0.0)) -> Atoms:
    atoms = Atoms("Ag3", positions)
    atoms.calc = SinglePointCalculator(atoms, energy=-1.5, charges=np.array(charges))
    return atoms


def test_shape_names_the_middle_atom_whatever_the_order():
    shape = shape_of(trimer([[0, 0, 0], [3, 0, 0], [0, 4, 0]], (-0.2, 0.5, 0.7)))
    assert shape.angle == pytest.approx(90)
    assert shape.charges == (0.5, -0.2, 0.7)
    assert shape.distances == pytest.approx((3, 4, 5))
    assert shape.energy == -1.5


@pytest.mark.parametrize(
    "positions, angle, name",
    [
        ([[0, 0, 0], [1, 0, 0], [0.5, np.sqrt(0.75), 0]], 60, "triangle"),
        ([[0, 0, 0], [0, 0, 2], [0, 0, -2]], 180, "open chain"),
        ([[0, 0, 0], [2, 0, 0], [0, 2, 0]], 90, "bent trimer"),
    ],
    ids=["equilateral", "straight", "right"],
)
def test_widest_angle_and_name(positions, angle, name):
    # arccos loses half of the digits at 180 degrees
    assert widest_angle(np.array(positions)) == pytest.approx(angle, abs=1e-5)
    assert shape_of(trimer(positions)).name == name


def test_both_ions_start_from_the_same_positions():
    positive, negative = bent_trimer(1), bent_trimer(-1)
    assert (positive.positions == negative.positions).all()
    assert widest_angle(positive.positions) == pytest.approx(START_ANGLE)
    assert positive.get_distance(0, 1) == positive.get_distance(1, 2) == pytest.approx(START_BOND)


@pytest.fixture(scope="module")
def engine():
    pytest.importorskip("tblite", reason="needs the extra xtb: pip install 'cace_qeq[xtb]'")
    return pytest.importorskip("generate.engine")


@pytest.mark.parametrize("total_charge", [1, -1])
def test_stated_minima_come_out_of_the_engine_again(engine, total_charge):
    state, stated = engine.ChargeState(total_charge), REFERENCE[total_charge]
    energy = engine.single_point(bent_trimer(total_charge), state).energy
    assert energy == pytest.approx(REFERENCE_START[total_charge], abs=1e-4)  # eV, the printed digits
    atoms = relaxed(engine, bent_trimer(total_charge), total_charge)
    point = engine.single_point(atoms, state)
    atoms.calc = SinglePointCalculator(atoms, energy=point.energy, charges=point.charges)
    found = shape_of(atoms)
    assert found.angle == pytest.approx(stated.angle, abs=0.1)  # degrees, the printed digits
    assert found.distances == pytest.approx(stated.distances, abs=0.002)
    assert found.charges == pytest.approx(stated.charges, abs=0.001)
    assert found.energy == pytest.approx(stated.energy, abs=1e-4)


def test_stated_straight_chain_comes_out_of_the_engine_again(engine):
    atoms = relaxed(engine, Atoms("Ag3", [[2.6, 0, 0], [0, 0, 0], [-2.6, 0, 0]]), -1)
    assert widest_angle(atoms.positions) == pytest.approx(180, abs=0.1)
    assert atoms.get_potential_energy() == pytest.approx(REFERENCE_STRAIGHT, abs=1e-4)


def relaxed(engine, atoms: Atoms, total_charge: int) -> Atoms:
    """Tightly: the chain is soft."""
    atoms.calc = engine.TightBindingCalculator(engine.ChargeState(total_charge))
    assert BFGS(atoms, logfile=None).run(fmax=0.0002, steps=200)
    return atoms
