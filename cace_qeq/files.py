"""Files that appear whole or not at all, and that one process at a time writes."""

import errno
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout


def write_atomically(path: str | Path, content: bytes) -> None:
    """Write to a temporary neighbour, flush it to disk, rename it into place.

    A link stays one and its target is replaced; pipes and devices are written to.

    Raises OSError that names the file.
    """
    target = Path(os.path.realpath(path))
    with naming(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        if is_device(Path(path)):
            Path(path).write_bytes(content)
        else:
            replace_file(target, content)


def is_device(path: Path) -> bool:
    """Whether a path is written to and not replaced: a pipe, a device, and /dev/stdout even where it is a file."""
    return path.parent == Path("/dev") or (path.exists() and not path.is_file())


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """An OSError from within names the file."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def refuse_inputs(target: Path, inputs: Iterable[Path]) -> None:
    """Raise ValueError where what is written would replace what is read."""
    for path in inputs:
        if path.resolve() == target.resolve():
            raise ValueError(f"{target} is an input, which would be replaced; choose another name for the output.")


def refuse_unwritable(path: str | Path) -> None:
    """Raise OSError that names the file where `write_atomically` would, before there is anything to write."""
    target = Path(os.path.realpath(path))
    with naming(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not is_device(Path(path)):
            tempfile.TemporaryFile(dir=target.parent).close()


def is_empty(folder: Path) -> bool:
    """Whether a folder holds nothing or is not there; hidden files, such as locks that are left over, do not count."""
    return not folder.exists() or all(path.name.startswith(".") for path in folder.iterdir())


@contextmanager
def alone(path: Path, work: Path | None = None) -> Iterator[None]:
    """While this lasts, no other process may do the same with this path; a process that dies lets go, unless the file
    system has no locks.

    The folder of the path is made where there is none, and removed where nothing is left in it.

    work  what is written, for the error; the path itself by default

    Raises BlockingIOError where another one does already.
    """
    is_new = not path.parent.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.parent / f".{path.name}.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise BlockingIOError(f"{work or path} is being written by another process; wait for it, or stop it.") from None
    except NotImplementedError:  # a file system without locks
        yield
        return
    try:
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)  # before it is free, so that nobody waits for what is gone
        lock.release()
        if is_new:
            with suppress(OSError):
                path.parent.rmdir()


def replace_file(path: Path, content: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~umask())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def umask() -> int:
    """Permissions that new files of this process lack; to read them is to set them."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
