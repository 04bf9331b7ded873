"""A training run from its configuration to a model file and its errors."""

import builtins
import json
import multiprocessing
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast, get_args

import torch
from torch.multiprocessing import ProcessRaisedException

from cace_qeq.checkpoint import load_model, save_model
from cace_qeq.files import alone, write_atomically
from cace_qeq.training.config import TrainConfig, TrainingConfig
from cace_qeq.training.folder import RunFolder, Start
from cace_qeq.training.interrupt import StopRequest
from cace_qeq.training.metrics import Evaluation, evaluate
from cace_qeq.training.prepare import Prepared, prepare
from cace_qeq.training.provenance import roles_of
from cace_qeq.training.reporting import Reporter, Silent
from cace_qeq.training.state import progress_of
from cace_qeq.training.trainer import Trainer

if TYPE_CHECKING:
    from lightning_fabric import Fabric

ENDS = (ValueError, OSError, FloatingPointError)  # what a run raises
RAISED = {name: kind for name, kind in vars(builtins).items() if isinstance(kind, type) and issubclass(kind, ENDS)}
RAISED |= {"MissingFileError": FileNotFoundError, "UnicodeDecodeError": ValueError}  # the latter takes no message


@dataclass(frozen=True)
class Outcome:
    """What a run has come to.

    reason       "finished", "time limit" or "interrupted"
    history      one record per epoch
    evaluations  of the best model on "valid" and, if given, "test"; empty if interrupted
    """

    folder: RunFolder
    reason: str
    history: list[dict[str, Any]]
    evaluations: dict[str, Evaluation]


def fit(config: TrainConfig, start: Start = "new", reporter: Reporter | None = None) -> Outcome:
    """Train a model as configured; its files are listed in `RunFolder`.

    start     "new", "resume" to continue the run in the output folder, or "overwrite" to replace it
    reporter  is told of progress

    raises  ValueError for a folder, data or settings that cannot be trained on, BlockingIOError for a folder that
            another process trains in, TypeError for anything but a configuration
    """
    if not isinstance(config, TrainConfig):
        raise TypeError(f"fit was given a {type(config).__name__}, expected a TrainConfig: see load_config.")
    if start not in get_args(Start):
        raise ValueError(f"start is {start!r}, expected one of {', '.join(get_args(Start))}.")
    folder = RunFolder(config.training.output)
    folder.check(config, start)
    with alone(folder.path / "run", folder.path), threads(config.training.threads):
        return fit_in(folder, config, start, reporter or Silent())


@contextmanager
def threads(number: int | None) -> Iterator[None]:
    """So many, None for as many as there are, and then as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def fit_in(folder: RunFolder, config: TrainConfig, start: Start, reporter: Reporter) -> Outcome:
    """As `fit`, in a folder that nobody else writes into."""
    fabric = fabric_of(config.training)
    prepared = prepare(config, reporter.preparing)
    if start == "resume":
        refuse_other_files(folder, prepared)
    reporter.prepared(prepared.summary)
    folder.claim(config, start)
    if config.training.processes == 1:
        reason, history = train(fabric, config, prepared, reporter)
    else:
        reason, history = train_in_processes(fabric, config, reporter)
    evaluations = {} if reason == "interrupted" else finish(folder, prepared, reason, history, fabric.device)
    return Outcome(folder, reason, history, evaluations)


def refuse_other_files(folder: RunFolder, prepared: Prepared) -> None:
    """Raise ValueError if data files, what they are for, or the model that it starts from are not those of the run."""
    before = progress_of(folder.state).files if folder.state.exists() else []  # or of a version that did not note them
    if before and before != roles_of(prepared.model.provenance):
        raise ValueError(
            f"the data files are not those that the run in {folder.path} was trained on, or serve another purpose, "
            "or start_from is another model now; put them back, or start again with --overwrite."
        )


def fabric_of(config: TrainingConfig) -> "Fabric":
    """Devices and processes. Workers are spawned, so that the command itself runs only once.

    raises  ValueError for a device that is not there
    """
    from lightning_fabric import Fabric  # here, as it takes two seconds

    if config.device == "cuda" and torch.cuda.device_count() < config.processes:
        raise ValueError(
            f"training.device is cuda for {config.processes} processes, but torch finds {torch.cuda.device_count()} "
            "CUDA devices; choose cpu or auto, or fewer processes."
        )
    on_gpu = config.device == "cuda" or (config.device == "auto" and torch.cuda.device_count() >= config.processes)
    strategy = "auto" if config.processes == 1 else "ddp_spawn"
    return Fabric(accelerator="cuda" if on_gpu else "cpu", devices=config.processes, strategy=strategy)


def train_in_processes(fabric: "Fabric", config: TrainConfig, reporter: Reporter) -> tuple[str, list[dict[str, Any]]]:
    """As `train`, in new processes, to which signals are passed on."""
    work = partial(train_as_one_of_many, config=config, reporter=reporter)
    with StopRequest(on_request=pass_on):
        try:
            reason, history = fabric.launch(work)
        except ProcessRaisedException as error:
            raise raised_there(error) from None
    return reason, history


def pass_on(number: int) -> None:
    """Send a signal to the processes of this one."""
    for process in multiprocessing.active_children():
        os.kill(cast(int, process.pid), number)


def raised_there(error: ProcessRaisedException) -> Exception:
    """What a process raised, if it is of the kinds that a run raises; the error itself with its traceback otherwise."""
    text = str(error).rstrip()
    lines = [line for line in re.finditer(r"^(?:\w+\.)*(\w+): ", text, re.MULTILINE) if line[1] in RAISED]
    return RAISED[lines[-1][1]](text[lines[-1].end() :]) if lines else error


def train_as_one_of_many(fabric: "Fabric", config: TrainConfig, reporter: Reporter) -> tuple[str, list[dict[str, Any]]]:
    """What each spawned process does; it reads the data for itself."""
    with threads(config.training.threads):
        outcome = train(fabric, config, prepare(config), reporter if fabric.is_global_zero else Silent())
    fabric.barrier()  # without it, the first to leave tears the process group down under the others
    return outcome


def train(
    fabric: "Fabric", config: TrainConfig, prepared: Prepared, reporter: Reporter
) -> tuple[str, list[dict[str, Any]]]:
    """Why training ended, and its history."""
    trainer = Trainer(fabric, config.training, prepared, reporter)
    trainer.resume()
    try:
        reason = trainer.run()
    finally:
        reporter.ended()
    return reason, trainer.progress.history


def finish(
    folder: RunFolder, prepared: Prepared, reason: str, history: list[dict[str, Any]], device: torch.device
) -> dict[str, Evaluation]:
    """Errors of the best model, written beside it and into it."""
    model = load_model(folder.model, device)
    sets = {"valid": prepared.valid, "test": prepared.test}
    evaluations = {name: evaluate(model, batches) for name, batches in sets.items() if batches}
    metrics = {name: evaluation.metrics for name, evaluation in evaluations.items()}
    model.provenance["metrics"] = metrics
    save_model(model, folder.model)
    report = {
        **metrics,
        "ended": reason,
        "epochs": len(history),
        "minutes": sum(record["seconds"] for record in history) / 60,
        "parameters": prepared.summary.n_parameters,
    }
    write_atomically(folder.metrics, json.dumps(report, indent=2).encode())
    return evaluations
