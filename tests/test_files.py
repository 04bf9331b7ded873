"""Files appear whole, where they were asked for, with the permissions of the process."""

import os
import stat
import subprocess
import sys
import threading

import pytest

from cace_qeq.files import alone, is_empty, write_atomically


def test_a_link_stays_one(tmp_path):
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    write_atomically(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "new"


def test_a_pipe_is_written_to(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    heard = []
    reader = threading.Thread(target=lambda: heard.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    write_atomically(tmp_path / "pipe", b"words")
    reader.join(timeout=10)
    assert heard == [b"words"]
    assert (tmp_path / "pipe").is_fifo()


def test_permissions_are_those_of_new_files(tmp_path):
    before = os.umask(0o077)
    try:
        write_atomically(tmp_path / "private", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "private").stat().st_mode) == 0o600


def test_what_cannot_be_written_leaves_the_old_file_and_is_named(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(28, "No space left on device")

    (tmp_path / "results").write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*results'"):
        write_atomically(tmp_path / "results", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["results"]
    assert (tmp_path / "results").read_text() == "old"


def test_a_process_that_dies_lets_go(tmp_path):
    """One that is killed while it writes does not stand in the way of the next."""
    code = f"from pathlib import Path; from cace_qeq.files import alone\nwith alone(Path({str(tmp_path / 'run')!r})):"
    process = subprocess.Popen([sys.executable, "-c", code + " print(flush=True); input()"], stdin=-1, stdout=-1)
    process.stdout.readline()
    with pytest.raises(BlockingIOError, match="run is being written by another process"), alone(tmp_path / "run"):
        pass
    process.kill()
    process.communicate()
    assert is_empty(tmp_path)
    with alone(tmp_path / "run"):
        pass
    assert list(tmp_path.iterdir()) == []
