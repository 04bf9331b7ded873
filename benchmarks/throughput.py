"""Speed and memory beside other codes: the same structures, one core, in turns within one run.

    python benchmarks/throughput.py --peers nequip,mace --peer-python nequip=PATH --peer-python mace=PATH

Nothing is installed here: a peer is timed by its own interpreter, in whose environment it is. Every process has one
thread. Subjects take turns, so that whatever else the machine does hits all alike; a time is the median of at least
seven calls after warm-up, in CPU time of the process (time on the clock is kept beside it: where the two differ, the
machine was busy). Everything is measured under two memory allocators, the system's as it comes and a tuned one that
the result names. Writes results/NAME.json after every item; --resume goes on where the same commit stopped.

With --device cuda everything runs on a GPU, times are those on the clock until all work is done, memory is that of the
GPU, and what the operations of our networks read and write is held against the bandwidth of a copy.
"""

import tempfile
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console

from cace_qeq.benchmark.workers import DEFAULT, Allocator, interpreters_of, tuned_allocator
from record import RESULTS, read_result, script, write_result
from speed.bandwidth import copy_bandwidth
from speed.memory import measure_memory
from speed.outcome import Record, add_bandwidths, judged
from speed.plan import CUDA_ITEMS, EXTRA_ITEMS, ITEMS, MEMORY_ITEMS, Item, MemoryItem
from speed.session import Session
from speed.tables import goals_table, times_table

USUAL = {"cpu": (*ITEMS, *MEMORY_ITEMS), "cuda": (*CUDA_ITEMS, *MEMORY_ITEMS)}
ALL = {item.name: item for item in (*ITEMS, *MEMORY_ITEMS, *EXTRA_ITEMS)}

Peers = Annotated[str, typer.Option(help="Codes to compare with, e.g. nequip,mace.")]
PeerPython = Annotated[list[str] | None, typer.Option(help="Interpreter of a peer, e.g. nequip=PATH.")]
Cace = Annotated[Path | None, typer.Option(help="A checkout of CACE, timed too (by cace=PYTHON).")]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]
Items = Annotated[str, typer.Option(help=f"Some of {', '.join(ALL)}; commas between. By default all but the slow.")]
Resume = Annotated[bool, typer.Option("--resume", help="Keep the items that this commit has measured.")]
Name = Annotated[str, typer.Option(help="Of the file in benchmarks/results, by default throughput or throughput_cuda.")]


def main(
    peers: Peers = "",
    peer_python: PeerPython = None,
    cace: Cace = None,
    device: Device = "cpu",
    items: Items = "",
    resume: Resume = False,
    name: Name = "",
) -> None:
    """Measure, and print what was reached of what was hoped for."""
    wanted, usual = chosen(items, device), {"cpu": "throughput", "cuda": "throughput_cuda"}[device]
    if items and not resume and not name and (RESULTS / f"{usual}.json").exists():
        raise ValueError(
            f"some items alone would replace all in {usual}.json; give --name for another file, or --resume."
        )
    name = name or usual
    interpreters = interpreters_of(peers, peer_python or [], cace)
    allocators, console = (DEFAULT,) if device == "cuda" else (DEFAULT, tuned_allocator()), Console()
    with (
        tempfile.TemporaryDirectory() as folder,
        console.status("starting") as status,
        Session(interpreters, allocators, Path(folder), status.update, device) as session,
    ):
        versions = session.versions()
        copied = copy_bandwidth() if device == "cuda" else 0.0
        gpu = {"device": torch.cuda.get_device_name(), "copy_bytes_per_second": copied} if copied else {"device": "cpu"}
        before = read_result(name) if resume else None
        if before:
            session.record = Record(before["items"], before["notes"])
        for item in wanted:
            if item.name not in session.record.items:
                measure(session, item)
                if device == "cuda":
                    add_bandwidths(session.record, copied)
                write_result(name, content(session.record, allocators, versions) | gpu)
    for table in (times_table(session.record), goals_table(session.record, allocators)):
        console.print(table)


def chosen(names: str, device: str) -> list[Item | MemoryItem]:
    """raises  ValueError for a device that is not there, and for a name that no item has"""
    if device not in USUAL or (device == "cuda" and not torch.cuda.is_available()):
        raise ValueError(f"there is no device {device!r} here; choose cpu{', or cuda' * torch.cuda.is_available()}.")
    if not names:
        return list(USUAL[device])
    unknown = set(names.split(",")) - set(ALL)
    if unknown:
        raise ValueError(f"there is no item {sorted(unknown)[0]!r}; choose of {', '.join(ALL)}.")
    available = {**ALL, **{item.name: item for item in USUAL[device]}}
    return [available[name] for name in names.split(",")]


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
        "versions_of_codes": versions,
        "goals": judged(record, [allocator.name for allocator in allocators]),
        "items": record.items,
        "notes": record.notes,
    }


if __name__ == "__main__":
    script(main)
