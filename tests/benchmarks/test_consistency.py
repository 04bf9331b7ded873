"""The compared trainings differ in their consistency terms or their length alone."""

import pytest

from cace_qeq.training import load_config
from consistency import CONFIG, KINDS
from variants.changes import changed


@pytest.mark.parametrize("name", KINDS)
def test_kinds_differ_in_terms_or_length(name):
    base = load_config(CONFIG)
    settings = changed(base, "kind", KINDS[name])
    assert (settings.training.consistency is None) == name.startswith("none")
    restored = {"consistency": None, "epochs": base.training.epochs, "output": base.training.output}
    assert settings.model_copy(update={"training": settings.training.model_copy(update=restored)}) == base
