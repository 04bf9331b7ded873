"""Engines start where this package is not installed."""

import re

import pytest

from cace_qeq.benchmark.workers import ENGINES


@pytest.mark.parametrize("path", sorted(ENGINES.glob("*.py")), ids=lambda path: path.stem)
def test_only_our_own_engine_knows_the_package(path):
    known = re.search(r"^\s*(from|import) cace_qeq\b", path.read_text(), re.MULTILINE)
    assert bool(known) == (path.stem == "cace_qeq_engine")
