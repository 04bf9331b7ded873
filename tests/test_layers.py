"""The house stands: imports point to lower floors, and every library has its door.

Files are read, never imported, so one run sees every import of every file.
"""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "cace_qeq"

FLOORS = [
    {"allocation", "units", "lattice", "conditions", "records", "strict", "files", "datasets", "neighbors"},
    {"slab", "meshing", "impose"},
    {"planning"},
    {"structures", "features", "electrostatics"},
    {"nn"},
    {"config", "charged"},
    {"parts"},
    {"model"},
    {"prediction", "checkpoint", "response"},
    {"committee", "compilation"},
    {"results"},
    {"training", "calculator", "simulation", "plots"},
    {"quickstart", "doctor", "benchmark"},
    {"cli"},
    {"__main__"},
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

DOORS = {
    "vesin": {"neighbors"},
    "pytorch_optimizer": {"training.optimizer", "benchmark.engines"},
    "opt_einsum": {"features.couplings"},
    "scipy": {"features.quadrature", "simulation.spectrum"},
    "ase": {"structures.convert", "results", "calculator", "simulation", "benchmark.engines"},
    "lightning_fabric": {"training", "benchmark.engines"},
    "typer": {"cli"},
    "rich": {"cli"},
    "matplotlib": {"plots", "benchmark.figures"},
    "safetensors": {"checkpoint"},
    "filelock": {"files"},
    "pydantic": {"strict", "config", "training", "simulation.settings", "cli"},
    "tblite": set(),
    "yaml": {"training"},
    "pickle": set(),
    "dill": set(),
    "joblib": set(),
    "requests": set(),
}

CLOSED = {"nn": {"ase", "numpy", "scipy", "vesin"}, "features": {"ase"}, "electrostatics": {"ase"}}

Graph = dict[str, set[str]]


def imports(tree: ast.Module, package: str) -> Iterator[str]:
    """Dotted names that a file imports, wherever in the file; relative ones are resolved in `package`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            prefix = ".".join([*origin, *([node.module] if node.module else [])])
            yield from (f"{prefix}.{alias.name}" for alias in node.names)


def import_graph(source: Path) -> Graph:
    """Every module of a package folder, with what it imports; its own names without the package's."""
    graph = {}
    for path in sorted(source.rglob("*.py")):
        folder = ".".join(path.parent.relative_to(source.parent).parts)
        name = folder if path.stem == "__init__" else f"{folder}.{path.stem}"
        graph[name] = set(imports(ast.parse(path.read_text()), folder))
    return {shortened(name, source.name): own_modules(names, graph) for name, names in graph.items()}


def own_modules(names: set[str], graph: Graph) -> set[str]:
    """`from module import name` as the module, unless the name is a module itself."""
    package = next(iter(graph)).split(".")[0]
    modules = set()
    for name in names:
        if name.split(".")[0] == package and name not in graph:
            name = name.rpartition(".")[0]
        modules.add(shortened(name, package))
    return modules


def shortened(name: str, package: str) -> str:
    """`cace_qeq.nn.ace` as `.nn.ace`, the package itself as `.`; other libraries keep their names."""
    return "." + name[len(package) + 1 :] if name.split(".")[0] == package else name


def room(module: str) -> str:
    return module[1:].split(".")[0]


def offences(graph: Graph) -> list[str]:
    """Sentences about everything in a graph that the house forbids."""
    found = []
    for module, names in graph.items():
        if module == ".":
            continue
        for name in sorted(names):
            verdict = own_offence(module, name) if name.startswith(".") else outside_offence(module, name)
            if verdict:
                found.append(f"{module[1:]} imports {name}: {verdict}")
    return found


def own_offence(module: str, name: str) -> str | None:
    if name == ".":
        return "the package's front door is for users"
    here, there = room(module), room(name)
    unknown = {here, there} - FLOOR.keys()
    if unknown:
        return f"{unknown.pop()!r} stands on no floor; give it one here and in docs/architecture.md"
    if here != there and FLOOR[there] >= FLOOR[here]:
        return f"{there} does not stand below {here}"
    return None


def outside_offence(module: str, name: str) -> str | None:
    library = name.split(".")[0]
    if library in CLOSED.get(room(module), set()):
        return f"{room(module)} sees no {library}"
    doors = DOORS.get(library)
    if doors is not None and not any(f"{module[1:]}.".startswith(f"{door}.") for door in doors):
        return f"{library} comes in through {', '.join(sorted(doors)) or 'no door at all'}"
    return None


@pytest.fixture(scope="module")
def house() -> Graph:
    return import_graph(SOURCE)


def test_imports_point_to_lower_floors_and_libraries_use_their_doors(house):
    assert offences(house) == []


def test_every_room_stands_on_a_floor(house):
    assert {room(module) for module in house} - {""} <= FLOOR.keys()


def test_no_import_cycles(house):
    inner = {module: {name for name in names if name in house} - {module} for module, names in house.items()}
    try:
        list(TopologicalSorter(inner).static_order())
    except CycleError as error:
        pytest.fail(f"import cycle: {' -> '.join(error.args[1])}")


FORBIDDEN = {
    "a lower floor knows a higher one": ("features/a.py", "from cace_qeq.model import CACEQEq"),
    "rooms of one floor know each other": ("features/a.py", "import cace_qeq.structures"),
    "a relative import does": ("features/a.py", "from ..structures import batch"),
    "an import hides in a function": ("nn/a.py", "def f():\n    import numpy as np"),
    "a library misses its door": ("structures/batch.py", "from ase import Atoms"),
    "a name begins like a door": ("structures/convert_all.py", "from ase import Atoms"),
    "a pickle": ("checkpoint.py", "import pickle"),
    "the front door from inside": ("cli.py", "from cace_qeq import predict"),
    "a room without a floor": ("utils.py", "import cace_qeq.units"),
}


@pytest.mark.parametrize("case", FORBIDDEN, ids=str)
def test_the_check_catches(case, tmp_path):
    path, line = FORBIDDEN[case]
    assert len(offences(import_graph(small_house(tmp_path, {path: line})))) == 1


ALLOWED = {
    "ase through its door": ("structures/convert.py", "from ase import Atoms"),
    "a lower floor": ("model.py", "from cace_qeq.nn import ace"),
    "a neighbour in the same room": ("nn/a.py", "from cace_qeq.nn.b import f"),
    "the standard library": ("cli.py", "import json"),
}


@pytest.mark.parametrize("case", ALLOWED, ids=str)
def test_the_check_lets_pass(case, tmp_path):
    path, line = ALLOWED[case]
    assert offences(import_graph(small_house(tmp_path, {path: line}))) == []


def small_house(folder: Path, files: dict[str, str]) -> Path:
    """A package of the given files, and a few empty ones to import."""
    empty = dict.fromkeys(("__init__.py", "model.py", "units.py", "structures/batch.py"), "")
    for path, text in {**empty, **files}.items():
        target = folder / "cace_qeq" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        (target.parent / "__init__.py").touch()
        target.write_text(text)
    return folder / "cace_qeq"
