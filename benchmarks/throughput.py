"""Speed and memory beside other codes: the same structures, one core, in turns within one run.

    python benchmarks/throughput.py --peers nequip,mace --peer-python nequip=PATH --peer-python mace=PATH

Nothing is installed here: a peer is timed by its own interpreter, in whose environment it is. Every process has one
thread. Subjects take turns, so that whatever else the machine does hits all alike; a time is the median of at least
seven calls after warm-up, in CPU time of the process (time on the clock is kept beside it: where the two differ, the
machine was busy). Everything is measured under two memory allocators, the system's as it comes and a tuned one that
the result names. Writes results/NAME.json after every item; --resume goes on where the same commit stopped.
"""

import tempfile
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console

from cace_qeq.benchmark.workers import DEFAULT, Allocator, interpreters_of, tuned_allocator
from record import read_result, write_result
from speed.memory import measure_memory
from speed.outcome import Record, judged
from speed.plan import EXTRA_ITEMS, ITEMS, MEMORY_ITEMS, Item, MemoryItem
from speed.session import Session
from speed.tables import goals_table, times_table

USUAL = ",".join(item.name for item in (*ITEMS, *MEMORY_ITEMS))
ALL = {item.name: item for item in (*ITEMS, *MEMORY_ITEMS, *EXTRA_ITEMS)}

Peers = Annotated[str, typer.Option(help="Codes to compare with, e.g. nequip,mace.")]
PeerPython = Annotated[list[str] | None, typer.Option(help="Interpreter of a peer, e.g. nequip=PATH.")]
Cace = Annotated[Path | None, typer.Option(help="A checkout of CACE, timed too (by cace=PYTHON).")]
Items = Annotated[str, typer.Option(help=f"Some of {', '.join(ALL)}; commas between.")]
Resume = Annotated[bool, typer.Option("--resume", help="Keep the items that this commit has measured.")]
Name = Annotated[str, typer.Option(help="Of the file in benchmarks/results.")]


def main(
    peers: Peers = "",
    peer_python: PeerPython = None,
    cace: Cace = None,
    items: Items = USUAL,
    resume: Resume = False,
    name: Name = "throughput",
) -> None:
    """Measure, and print what was reached of what was hoped for."""
    wanted = chosen(items)
    interpreters = interpreters_of(peers, peer_python or [], cace)
    allocators, console = (DEFAULT, tuned_allocator()), Console()
    with (
        tempfile.TemporaryDirectory() as folder,
        console.status("starting") as status,
        Session(interpreters, allocators, Path(folder), status.update) as session,
    ):
        versions = session.versions()
        before = read_result(name) if resume else None
        if before:
            session.record = Record(before["items"], before["notes"])
        for item in wanted:
            if item.name not in session.record.items:
                measure(session, item)
                write_result(name, content(session.record, allocators, versions))
    for table in (times_table(session.record), goals_table(session.record, allocators)):
        console.print(table)


def chosen(names: str) -> list[Item | MemoryItem]:
    """raises  ValueError for a name that no item has"""
    unknown = set(names.split(",")) - set(ALL)
    if unknown:
        raise ValueError(f"there is no item {sorted(unknown)[0]!r}; choose of {', '.join(ALL)}.")
    return [ALL[name] for name in names.split(",")]


def measure(session: Session, item: Item | MemoryItem) -> None:
    if isinstance(item, MemoryItem):
        measure_memory(session, item)
    else:
        session.measure(item)


def content(record: Record, allocators: tuple[Allocator, ...], versions: dict[str, dict[str, str]]) -> dict[str, Any]:
    """What the result file says."""
    return {
        "allocators": {allocator.name: allocator.description for allocator in allocators},
        "threads_per_process": 1,
        "cuda_device": torch.cuda.get_device_name() if torch.cuda.is_available() else None,  # present, not measured
        "versions_of_codes": versions,
        "goals": judged(record, [allocator.name for allocator in allocators]),
        "items": record.items,
        "notes": record.notes,
    }


if __name__ == "__main__":
    typer.run(main)
