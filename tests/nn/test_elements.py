import pytest

from cace_qeq.nn import elements


def test_tables_have_one_entry_for_each_element():
    assert len(elements.COVALENT_RADII) == len(elements.IONIZATION_ENERGIES) == len(elements.ELECTRON_AFFINITIES) == 97


@pytest.mark.parametrize(
    ("number", "electronegativity", "hardness"),
    # Pearson, Inorg. Chem. 27, 734 (1988), tabulates (I+A)/2 and (I-A)/2 of the atoms
    [(1, 7.18, 6.43), (6, 6.27, 5.00), (8, 7.54, 6.08), (11, 2.85, 2.30), (17, 8.30, 4.68), (47, 4.44, 3.14)],
)
def test_pearsons_table(number, electronegativity, hardness):
    assert elements.mulliken_electronegativity(number) == pytest.approx(electronegativity, abs=0.02)
    assert elements.chemical_hardness(number) / 2 == pytest.approx(hardness, abs=0.02)


def test_radii_agree_with_ase():
    data = pytest.importorskip("ase.data")
    assert elements.COVALENT_RADII[1:] == pytest.approx(tuple(data.covalent_radii[1:97]))
