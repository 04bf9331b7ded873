"""The commands of `cace-qeq`, and how their errors look."""

import signal
import sys
from collections.abc import Sequence
from importlib.metadata import version as installed
from io import TextIOWrapper
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.text import Text

from cace_qeq.cli.benchmark import app as benchmark
from cace_qeq.cli.committee import committee
from cace_qeq.cli.convert import convert
from cace_qeq.cli.doctor import doctor
from cace_qeq.cli.evaluate import evaluate
from cace_qeq.cli.info import info
from cace_qeq.cli.md import md
from cace_qeq.cli.predict import predict
from cace_qeq.cli.quickstart import quickstart
from cace_qeq.cli.relax import relax
from cace_qeq.cli.spectrum import spectrum
from cace_qeq.cli.train import train
from cace_qeq.electrostatics import ConvergenceError
from cace_qeq.strict import readable

app = typer.Typer(
    name="cace-qeq",
    help="Cartesian ACE potentials with charge equilibration.",
    no_args_is_help=True,
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(train)
app.command()(evaluate)
app.command()(predict)
app.command()(committee)
app.command()(convert)
app.command()(md)
app.command()(relax)
app.command()(spectrum)
app.command()(doctor)
app.command()(info)
app.command()(quickstart)
app.add_typer(benchmark, name="benchmark")


FLAGS = {"n_steps": "--steps", "largest_force": "--fmax", "barostat_time": "--barostat-time"}
"""Options that have other names than the settings they become."""

OUT_OF_MEMORY = ("out of memory", "not enough memory", "allocate memory", "Unable to allocate")
"""In the words of torch's allocators and of numpy."""


@app.callback()
def about(version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False) -> None:
    if version:
        Console().print(f"cace-qeq {installed('cace_qeq')}", highlight=False)
        raise typer.Exit


def main(arguments: Sequence[str] | None = None, defaults: dict[str, Any] | None = None) -> None:
    """Run a command; what is wrong with its input is one message, not a traceback.

    arguments  those of the process by default
    defaults   of options by the names of their commands, where they differ, e.g. {"md": {"interval": 5}}
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without Å shows ? and does not end a training
    signal.signal(signal.SIGTERM, end)
    try:
        app(arguments, default_map=defaults)
    except (ValueError, OSError, FloatingPointError, ConvergenceError) as error:
        reason = readable(error, "options") if isinstance(error, ValidationError) else str(error)
        for name, flag in FLAGS.items():
            reason = reason.replace(f"options: {name}:", f"{flag}:")
        refuse(reason)
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not any(sign in str(error) for sign in OUT_OF_MEMORY):
            raise
        first = str(error).partition("\n")[0]
        refuse(f"not enough memory ({first}); take fewer atoms at once (--batch-atoms, training.batch_atoms).")


def end(number: int, frame: FrameType | None) -> None:
    """As a signal to end does, but what is under way is written first."""
    sys.exit(128 + number)


def refuse(reason: str) -> NoReturn:
    """Say what is wrong, and end."""
    message = Text(f"error: {reason}", style="red")  # as Text, since paths and lists may look like markup
    Console(stderr=True).print(message, soft_wrap=True)
    sys.exit(1)
