"""What an installation would miss without anybody noticing in a checkout."""

import configparser
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
SOURCE = REPOSITORY / "cace_qeq"


@pytest.fixture(scope="module")
def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(REPOSITORY / "setup.cfg")
    return parser


def test_every_package_is_installed(setup):
    folders = {path.parent.relative_to(REPOSITORY) for path in SOURCE.rglob("*.py")}
    packages = {".".join(folder.parts) for folder in folders} | {"cace_qeq.data"}
    assert set(setup["options"]["packages"].split()) == packages


def test_every_requirement_is_pinned(setup):
    pins = {canonical(name) for name in re.findall(r"^([\w.-]+)==", (REPOSITORY / "constraints.txt").read_text(), re.M)}
    extras = setup["options.extras_require"]
    lines = "\n".join([setup["options"]["install_requires"], extras["test"], extras["xtb"]]).split("\n")
    required = {canonical(re.split(r"[ <>=]", line)[0]) for line in lines if line}
    assert required <= pins


def canonical(name: str) -> str:
    """A project's name as the package index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()
