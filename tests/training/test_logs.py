import csv

from cace_qeq.training.logs import TensorBoardLog, write_csv

HISTORY = [
    {"epoch": 1, "stage": "joint", "train_loss": 0.1 + 0.2},
    {"epoch": 2, "stage": "joint", "train_loss": 0.2, "valid_loss": None},
]


def test_the_table_reads_back_exactly(tmp_path):
    write_csv(tmp_path / "log.csv", HISTORY)
    rows = list(csv.DictReader((tmp_path / "log.csv").open()))
    assert [float(row["train_loss"]) for row in rows] == [0.1 + 0.2, 0.2]
    assert [row["valid_loss"] for row in rows] == ["", ""]


def test_curves_are_written(tmp_path):
    with TensorBoardLog(tmp_path / "curves") as log:
        for record in HISTORY:
            log.add(record)
    (events,) = (tmp_path / "curves").iterdir()
    assert b"train_loss" in events.read_bytes()
    assert b"valid_loss" not in events.read_bytes()
