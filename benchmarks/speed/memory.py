"""Peak memory: a fresh process for each size, whose largest resident size counts, libraries and all."""

from typing import Any

from cace_qeq.benchmark.workers import Allocator, WorkerError
from speed.outcome import slope
from speed.plan import LARGEST_SIDE, Item, MemoryItem, water
from speed.session import Session, job_of

ALLOWED = 12e6  # kB, for the largest box; it is not tried if the slope says that it needs more


def measure_memory(session: Session, item: MemoryItem) -> None:
    """kB per atom of every subject, from the slope through all sizes."""
    for subject, _, _ in session.subjects(item.subjects):
        for allocator in session.allocators:
            try:
                found = peaks(session, subject, item.sides, allocator)
                session.record.add(item.name, {"unit": "kB per atom"}, subject, allocator.name, found)
                if subject == item.largest:
                    measure_largest(session, subject, allocator, found)
            except WorkerError as error:
                session.record.notes.append(f"{item.name}: {subject}, {allocator.name}: {error}")


def peaks(session: Session, subject: str, sides: tuple[int, ...], allocator: Allocator) -> dict[str, Any]:
    atoms = [3 * side**3 for side in sides]
    kilobytes = [peak(session, subject, side, allocator) for side in sides]
    per_atom, offset = slope(atoms, kilobytes)
    return {"value": per_atom, "offset": offset, "atoms": atoms, "peaks": kilobytes}


def measure_largest(session: Session, subject: str, allocator: Allocator, line: dict[str, Any]) -> None:
    """GB at the largest box; where it would not fit, what the slope says."""
    n_atoms = 3 * LARGEST_SIDE**3
    expected = line["offset"] + line["value"] * n_atoms
    tried = expected < ALLOWED
    kilobytes = peak(session, subject, LARGEST_SIDE, allocator) if tried else expected
    about = {"unit": "GB", "atoms": n_atoms}
    found = {"value": kilobytes / 1e6, "extrapolated": not tried}
    session.record.add("memory_largest", about, subject, allocator.name, found)


def peak(session: Session, subject: str, side: int, allocator: Allocator) -> float:
    """kB, of a process that does one call."""
    engine, _, model = subject.partition(" ")
    item = Item(f"memory_{side}", water(side), (subject,))
    session.tell(f"memory, {3 * side**3} atoms: {subject}, {allocator.name}")
    path = session.written(item.name, item.frames())
    with session.fresh(engine, allocator) as worker:
        worker.ask("prepare", name="memory", job=job_of(model, item, path, session.device))
        return float(worker.ask("peak")["kilobytes"])
