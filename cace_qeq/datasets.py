"""Where the reference sets lie: inside an installed package, beside it in a checkout."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
HOMES = (PACKAGE / "data", PACKAGE.parent / "data")
NAMES = ("ag3", "carbon_chain", "nacl_cluster", "nacl_crystal")


def dataset(name: str) -> Path:
    """Folder of a reference set, with train.extxyz, valid.extxyz, test.extxyz and the datasheet README.md.

    name    one of NAMES
    raises  FileNotFoundError
    """
    for home in HOMES:
        if (home / name / "train.extxyz").is_file():
            return home / name
    raise FileNotFoundError(
        f"reference set {name!r} in neither {HOMES[0]} nor {HOMES[1]}; "
        f"the sets are {', '.join(NAMES)}; reinstall the package if one of them is missing"
    )
