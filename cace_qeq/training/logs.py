"""The table of epochs on disk, and the same numbers for TensorBoard."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cace_qeq.files import write_atomically

NOT_PLOTTED = ("epoch", "stage")


def write_csv(path: Path, history: Sequence[dict[str, Any]]) -> None:
    """One row per epoch; rewritten whole, so that it always agrees with the saved state."""
    columns = list(dict.fromkeys(name for record in history for name in record))
    text = io.StringIO()
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    table.writerows(history)
    write_atomically(path, text.getvalue().encode())


class TensorBoardLog:
    """Every number of an epoch's record as a curve, while entered."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.writer: Any = None  # torch's SummaryWriter

    def __enter__(self) -> "TensorBoardLog":
        return self

    def __exit__(self, *error: object) -> None:
        if self.writer is not None:
            self.writer.close()
        self.writer = None

    def add(self, record: dict[str, Any]) -> None:
        """Curves of a killed process are cut where this one begins."""
        if self.writer is None:
            from torch.utils.tensorboard import SummaryWriter  # here, as it takes half a second

            self.writer = SummaryWriter(str(self.folder), purge_step=record["epoch"])
        for name, value in record.items():
            if name not in NOT_PLOTTED and value is not None:
                self.writer.add_scalar(name, value, record["epoch"])
        self.writer.flush()
