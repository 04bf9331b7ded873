"""The sets that models are compared on: where they come from and how they are split.

Downloaded sets lie in DATA/FOLDER/FILE, where the user says what DATA is; the package ships the others.
"""

from pathlib import Path

from cace_qeq.benchmark.frozen import Content, DataSet, File

N2P2 = "github.com/CompPhysVienna/n2p2, examples/nnp-train"
KO_2021 = "doi.org/10.24435/materialscloud:f3-yh"


def generated(name: str, system: str) -> DataSet:
    """One of the project's own."""
    files = tuple(File(part, f"{part}.extxyz") for part in ("train", "valid", "test"))
    split = "of every ten groups the ninth for validation, the tenth to test"
    return DataSet(name, name, "CC0-1.0", f"GFN1-xTB (tblite), {system}", "data/generate", split, files, own=True)


SETS = (
    DataSet(
        "acac",
        folder="acac",
        licence="MIT",
        level="PBE/def2-SVP (ORCA)",
        source="github.com/davkovacs/BOTNet-datasets, dataset_acac, commit 29e6d46",
        split="train_300K permuted by numpy default_rng(41), the first 50 for validation; official test at 300 K",
        files=(
            File(
                "train",
                "train.extxyz",
                "65949978d4ecc27089ce290f3ee8a2a387e327ca12cea1f8463aa36e74915061",
                Content(450, (-9391.388813, 0.145664), 1.047001, 2.415038),
            ),
            File(
                "valid",
                "val.extxyz",
                "5c318a7c160af3af467bfbf27096bc03c36362d1de2d067e8f467c5602bf1578",
                Content(50, (-9391.372718, 0.183685), 1.084493, 2.412993),
            ),
            File(
                "test",
                "test_300K.extxyz",
                "163627b607fff92a91ec5d8f5b84fc1169ffe6c629529bd9478669be033a36cd",
                Content(650, (-9391.398975, 0.156017), 1.041047, 2.415699),
            ),
        ),
    ),
    DataSet(
        "bpa3",
        folder="bpa3",
        licence="MIT",
        level="ωB97X/6-31G(d) (ORCA)",
        source="github.com/davkovacs/BOTNet-datasets, dataset_3BPA, commit 29e6d46",
        split="train_300K permuted by default_rng(40): 450 to train, 50 for validation; no official tests",
        files=(
            File(
                "train",
                "train.extxyz",
                "1cba3e301f568f99cedfaa14bd7a20412c16c5a914a323e54f5c7591c1e1c714",
                Content(450, (-17660.435254, 0.164544), 0.946277, 3.333413),
            ),
            File(
                "valid",
                "val.extxyz",
                "07976e14535a71b0c61838f5f645625018ffca59d44c7fb241abcab59702c85f",
                Content(50, (-17660.406895, 0.169664), 0.963161, 3.327413),
            ),
        ),
    ),
    DataSet(
        "rmd17_ethanol",
        folder="rmd17_ethanol",
        licence="CC0-1.0",
        level="PBE/def2-SVP",
        source="doi.org/10.6084/m9.figshare.12672038; taken from github.com/andersx/rmd17-npz, commit 4f6bb0a",
        split="official train_01, the last 50 for validation; official test_01",
        files=(
            File(
                "train",
                "train.extxyz",
                "24edbf42a943c9c85ba5d4524daf5207c49c20508163403ab57dd95bb27aa885",
                Content(950, (-4209.622220, 0.178472), 1.198193, 1.545969),
            ),
            File(
                "valid",
                "val.extxyz",
                "7b869a3b90eb1b4a71f112af1f103dba4cefcf08ec8730b3ffa33b371301dce9",
                Content(50, (-4209.681224, 0.164187), 1.140990, 1.539896),
            ),
            File(
                "test",
                "test.extxyz",
                "4b189b7047baf60e9771d8b65168515009fc3a2eef84bb7e2f1b4d8562ed3ba0",
                Content(1000, (-4209.617764, 0.179756), 1.192484, 1.544632),
            ),
        ),
    ),
    DataSet(
        "rmd17_aspirin",
        folder="rmd17_aspirin",
        licence="CC0-1.0",
        level="PBE/def2-SVP",
        source="doi.org/10.6084/m9.figshare.12672038; taken from github.com/andersx/rmd17-npz, commit 4f6bb0a",
        split="official train_01, the last 50 for validation",
        files=(
            File(
                "train",
                "train.extxyz",
                "f3a27663dc33118509e01f9a57a3835761b6d0112b3c6e1c93b5982e5c04420b",
                Content(950, (-17617.737331, 0.259634), 1.259083, 2.973340),
            ),
            File(
                "valid",
                "val.extxyz",
                "b1680c75cbab540ce56a35d5e4a12cb73aaa3da5d38951957dd8fef44e52e44c",
                Content(50, (-17617.702872, 0.261768), 1.293882, 2.971619),
            ),
        ),
    ),
    DataSet(
        "dipeptides",
        folder="dipeptides_spice",
        licence="CC0-1.0 (SPICE), CC BY-NC 4.0 (the selection)",
        level="ωB97M-D3(BJ)/def2-TZVPPD (Psi4), MBIS charges",
        source="github.com/BingqingCheng/cace-lr-fit, fit-dipeptides/data, commit d7bd8c8",
        split="the official files",
        files=(
            File(
                "train",
                "train.extxyz",
                "0fc7ddc0216ba7b317b4efb4f27f0221cc3a67126ceed0f7bb136b155b936559",
                Content(495, (-205.577852, 9.375299), 1.040023, 3.742284, charges=0.452777, dipole=1.124182),
            ),
            File(
                "valid",
                "val.extxyz",
                "43a913839719d4053445c545a1e07db894968093aebaa7cd4293df42d4bdb1ec",
                Content(55, (-204.125339, 9.817834), 1.053390, 3.729173, charges=0.454446, dipole=1.023049),
            ),
        ),
    ),
    DataSet(
        "lode_dimers",
        folder="lode_dimers",
        licence="CC BY-NC 4.0",
        level="HSE06 (FHI-aims) in a periodic cell of 30 Å, which the files leave out; BFDb geometries",
        box=30.0,
        source="github.com/BingqingCheng/cace-lr-fit, fit-lode/lode-datasets, commit d7bd8c8",
        split="official, of every training file the fifth frame for validation; tests lie at longer distances",
        files=(
            File(
                "train",
                "train.extxyz",
                "69f471b1f7827daf63a21a3abcc0392142cdb116030b0638ae6e785af9caeb57",
                Content(54, (-10511.754842, 3144.310269), 0.084575, 4.463331),
            ),
            File(
                "valid",
                "val.extxyz",
                "1bd68a77770f48646b64d5ae905bab83f11d5f976e15d7053ccd6d68c0a5e082",
                Content(6, (-10511.741400, 3144.307294), 0.066808, 4.064390),
            ),
        ),
    ),
    DataSet(
        "carbon_chain_4g",
        folder="carbon_chain_4g",
        licence="GPL-3.0-or-later (the selection of n2p2)",
        level="PBE (FHI-aims), Hirshfeld charges; Ko et al. 2021",
        source=f"{N2P2}/Carbon_chain_4G/input.data; all frames: {KO_2021}",
        split="per total charge Q permuted by default_rng(10 + Q): 12 to test, 6 for validation",
        files=(
            File(
                "train",
                "train.extxyz",
                "bd1909c1d4813b9707fed3109d481cb0d3432287f8b04aad4d17920c1d9cd75e",
                Content(92, (-10388.581463, 4.575373), 0.977879, 4.390677, charges=0.071314, total_charge=0.478261),
            ),
            File(
                "valid",
                "val.extxyz",
                "e36e28a0afdc30462ee16ad25fa27bb360279309653e3f37417e45d081fe8ba3",
                Content(12, (-10388.841888, 4.596298), 1.016628, 4.386715, charges=0.072353, total_charge=0.500000),
            ),
        ),
    ),
    DataSet(
        "aumgo_4g",
        folder="aumgo_4g",
        licence="GPL-3.0-or-later (the selection of n2p2)",
        level="PBE (FHI-aims), Hirshfeld charges; Ko et al. 2021",
        source=f"{N2P2}/AlAuMgO_4G/input.data; all frames: {KO_2021}",
        split="per doping d permuted by default_rng(20 + d): 2 to test, 1 for validation",
        files=(
            File(
                "train",
                "train.extxyz",
                "ce90d3c9dc0eba609d0b0653c8ce4ffd88fd0622ca796f82b6f81e4b6e4308f6",
                Content(12, (-1478745.103982, 1709.695306), 0.397776, 5.245179, charges=0.354194, edge=12.938201),
            ),
            File(
                "valid",
                "val.extxyz",
                "79592633dd7b552af5353f194bbaeff661fc3f000eb151d61e9dfe48a1285525",
                Content(2, (-1478456.331515, 1733.392039), 0.439575, 5.241117, charges=0.354485, edge=12.938201),
            ),
            File(
                "test",
                "test.extxyz",
                "abeda088275fb72c8030b5ddc4e400c09fbec94709158eaccc4598ad276f1ba1",
                Content(4, (-1478456.410939, 1733.694202), 0.397334, 5.254239, charges=0.355300, edge=12.938201),
            ),
        ),
    ),
    DataSet(
        "water_pbe0ts",
        folder="water_pbe0ts",
        licence="LGPL-3.0",
        level="PBE0+TS, path-integral dynamics",
        source="github.com/deepmodeling/deepmd-kit, examples/water/data, commit bc902da",
        split="data_0 to data_2, every second frame (data_2: 1, 5, 9 ... validation); of data_3 to test",
        files=(
            File(
                "train",
                "train.extxyz",
                "2e78d8c654a731b2b80deb142624b8d3d553d5338002f6cafda9a10131731e00",
                Content(160, (-29943.576440, 0.662093), 0.813648, 8.460634, edge=12.444661),
            ),
            File(
                "valid",
                "val.extxyz",
                "d2c760d5943f5ccad5976efd670a6cd887786d2442de956a3160399a5f021fd8",
                Content(20, (-29943.496973, 0.667679), 0.801486, 8.396626, edge=12.444661),
            ),
            File(
                "test",
                "test.extxyz",
                "7d11ea708acd9135a270542986a03d235702608062fd9a3946bc8a76fb30acf3",
                Content(40, (-29943.505322, 0.560495), 0.820793, 8.377983, edge=12.444661),
            ),
        ),
    ),
    DataSet(
        "batio3_bec",
        folder="batio3_bec",
        licence="MIT",
        level="DFT with Born charges; Falletta et al. 2025, a subset",
        source="github.com/xvzemin/tace, example/data/BaTiO3.xyz, commit 057e463",
        split="permuted by default_rng(61): 42 to train, 5 for validation",
        files=(
            File(
                "train",
                "train.extxyz",
                "c6d534a2aff34038454d8346bf724b6a44e426db2f9f86b3fceead6215653bf9",
                Content(42, (-100927.645832, 3.300885), 0.894956, 6.035650, stress=0.018743, edge=12.227027),
            ),
            File(
                "valid",
                "val.extxyz",
                "b0413dff1ffc4f374dfa702cd1ff6975d5514e65e6a238a0b4ecd8bd6afbcd81",
                Content(5, (-100926.916888, 2.813053), 0.925138, 6.035417, stress=0.020915, edge=12.227027),
            ),
        ),
    ),
    generated("ag3", "Ag3+ and Ag3-"),
    generated("carbon_chain", "C10H2 and C10H3+"),
    generated("nacl_cluster", "Na9Cl8+ and Na8Cl8+"),
    generated("nacl_crystal", "rock salt"),
)
REGISTRY = {dataset.name: dataset for dataset in SETS}


def dataset(name: str) -> DataSet:
    """raises  ValueError for a name that is not registered"""
    if name not in REGISTRY:
        raise ValueError(f"there is no set {name!r}; choose one of {', '.join(REGISTRY)}.")
    return REGISTRY[name]


def state(found: DataSet, data: Path) -> str:
    """Whether all files are there and right."""
    try:
        for part in ("train", "valid", "test"):
            found.paths(part, data)
    except FileNotFoundError:
        return "missing"
    except ValueError:
        return "another file"
    return "there"
