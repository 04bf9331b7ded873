"""The loop: epochs of steps, validation, and what is kept of them."""

import math
import time
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import torch

from cace_qeq.checkpoint import save_model
from cace_qeq.prediction import predict
from cace_qeq.training.average import MovingAverage
from cace_qeq.training.baseline import refit_reference_energies
from cace_qeq.training.config import Stage, TrainingConfig
from cace_qeq.training.data import Example, filled_batches
from cace_qeq.training.folder import RunFolder
from cace_qeq.training.interrupt import StopRequest
from cace_qeq.training.logs import TensorBoardLog, write_csv
from cace_qeq.training.loss import Loss, compare
from cace_qeq.training.metrics import Tally, born_charges_for
from cace_qeq.training.optimizer import optimizer_of
from cace_qeq.training.prepare import Prepared
from cace_qeq.training.provenance import roles_of
from cace_qeq.training.recorded import RecordedPotential
from cace_qeq.training.reporting import Reporter
from cace_qeq.training.schedule import learning_rate_factor
from cace_qeq.training.state import Progress, load_state, progress_of, save_state
from cace_qeq.training.step import SharedGradient, clipped, summed

if TYPE_CHECKING:
    from lightning_fabric import Fabric  # which takes two seconds to import


class Trainer:
    """One process of a run. All processes hold the same parameters and come to the same decisions."""

    def __init__(self, fabric: "Fabric", config: TrainingConfig, prepared: Prepared, reporter: Reporter):
        self.fabric, self.config, self.data, self.reporter = fabric, config, prepared, reporter
        self.folder = RunFolder(config.output)
        self.model = prepared.model.to(fabric.device).train()
        self.average = MovingAverage(self.model, config.ema_decay)
        recorded = RecordedPotential(self.model) if config.compile else None
        self.gradient = SharedGradient(fabric, self.model, prepared.scale, recorded)
        self.optimizer = self.new_optimizer()
        self.progress = Progress(files=roles_of(prepared.model.provenance))
        self.board = TensorBoardLog(self.folder.tensorboard)
        self.stage_ends = list(accumulate(stage.epochs for stage in config.all_stages))

    def new_optimizer(self) -> torch.optim.Optimizer:
        trained = [(name, p) for name, p in self.model.named_parameters() if p.requires_grad]
        return optimizer_of(self.config, trained)

    @property
    def stage(self) -> Stage:
        return self.config.all_stages[self.progress.stage]

    @property
    def n_epochs(self) -> int:
        return self.stage_ends[-1]

    @property
    def stage_began(self) -> int:
        """Epoch of the schedule at which the current stage begins."""
        return self.stage_ends[self.progress.stage] - self.stage.epochs

    @property
    def loss(self) -> Loss:
        return Loss.of(self.config, self.stage.weights)

    def resume(self) -> None:
        """Continue from the saved state, if an epoch had been finished and others are to come."""
        if not self.folder.state.exists():
            return
        self.progress = progress_of(self.folder.state)
        done = self.progress.history[-1]["epoch"] if self.progress.history else 0
        if done < self.progress.epoch and self.progress.epoch not in self.stage_ends:  # out of patience, now longer
            self.progress.epoch, self.progress.stale = done, 0
        if self.progress.epoch < self.n_epochs:
            modules = {"model": self.model, "average": self.average.model}
            load_state(self.folder.state, modules, self.optimizer)

    def run(self) -> str:
        """Train until there is a reason to end, and return it."""
        with StopRequest() as stop, self.board:
            while self.progress.epoch < self.n_epochs:
                if self.agreed(self.out_of_time()):
                    self.keep_a_model()
                    return "time limit"
                if not self.epoch(stop):
                    return "interrupted"
        return "finished"

    def keep_a_model(self) -> None:
        """Of a stage that ends before its first validation."""
        if self.progress.best == float("inf"):
            record = self.progress.history[-1]
            record |= self.validated()
            self.judge(record["valid_loss"])
            self.save()

    def epoch(self, stop: StopRequest) -> bool:
        """One pass over the training frames, validated and saved; False if asked to stop before its end."""
        started, done = (time.monotonic(), time.process_time()), self.progress.epoch
        self.enter_stage()
        shuffler = torch.Generator().manual_seed(self.config.seed * 1_000_003 + done)
        batches = list(filled_batches(self.data.train, self.config.batch_atoms, shuffler))
        self.reporter.epoch_began(done + 1, self.n_epochs, len(batches))
        losses = []
        for index, examples in enumerate(batches):
            if self.agreed(stop.requested):
                return False
            losses.append(self.step(examples, done + (index + 1) / len(batches)))
            self.reporter.stepped()
        self.close_epoch(sum(losses) / len(losses), started)
        return True

    def enter_stage(self) -> None:
        """A new stage has weights of its own, so that its best model is looked for anew.

        The optimiser is a new one: its step sizes fit gradients of the old weights. The old one threw a model of
        dipeptides from 73 to 118 meV/Å when the energy weight rose thirtyfold.
        """
        stage = next(index for index, end in enumerate(self.stage_ends) if self.progress.epoch < end)
        if stage != self.progress.stage:
            energies_enter = self.stage.weights.energy == 0 < self.config.all_stages[stage].weights.energy
            self.progress.stage, self.progress.best = stage, float("inf")
            self.progress.stale, self.progress.slowdown = 0, 1.0
            self.optimizer = self.new_optimizer()
            if self.config.reference_energies == "least_squares" and energies_enter:
                refit_reference_energies(self.model, self.data.train)

    def step(self, examples: list[Example], epochs_done: float) -> float:
        """One step of the optimiser and of the average; returns the loss."""
        rate = self.stage.learning_rate or self.config.learning_rate
        rate *= learning_rate_factor(self.config, epochs_done, self.n_epochs, self.stage_began) * self.progress.slowdown
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        gradient, loss = self.gradient(examples, self.loss, self.config.seed * 1_000_003 + self.progress.step)
        if not gradient.isfinite().all():
            raise self.diverged(f"the gradient is not finite in epoch {self.progress.epoch + 1}")
        self.gradient.assign(clipped(gradient, self.config.gradient_clip))
        self.optimizer.step()
        self.progress.step += 1
        self.average.update(self.model, self.progress.step)
        return loss

    def close_epoch(self, train_loss: float, started: tuple[float, float]) -> None:
        """Validate if it is time to, then write everything that the next epoch builds on.

        started  at which time by the clock, and of this process
        """
        self.progress.epoch += 1
        record: dict[str, Any] = {
            "epoch": self.progress.epoch,
            "stage": self.stage.name,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "train_loss": train_loss,
        }
        if self.progress.epoch % self.config.validate_every == 0 or self.progress.epoch in self.stage_ends:
            record |= self.validated()
            self.judge(record["valid_loss"])
        record["seconds"] = time.monotonic() - started[0]
        record["cpu_seconds"] = time.process_time() - started[1]
        self.progress.seconds += record["seconds"]
        self.progress.history.append(record)
        self.save()
        self.reporter.epoch_ended(record)

    def validated(self) -> dict[str, Any]:
        """Loss and errors of the averaged model on the validation frames, as columns of the log."""
        tally, device = Tally.empty(), self.fabric.device
        for example in self.data.valid[self.fabric.global_rank :: self.fabric.world_size]:
            batch, labels = example.batch.to(device), example.labels.to(device)
            prediction = predict(self.average.model, batch)
            born = born_charges_for(labels, self.average.model, batch)
            tally.add(compare(prediction, labels, batch, self.data.scale, born), self.loss)
        tally.sums = summed(self.fabric, tally.sums.to(device)).cpu()
        return {"valid_loss": tally.loss(self.loss), **tally.metrics()}

    def judge(self, valid_loss: float) -> None:
        """Keep the best model; slow down or end the stage where none comes any more."""
        progress, config = self.progress, self.config
        if not math.isfinite(valid_loss):
            raise self.diverged(f"the validation loss is {valid_loss} after epoch {progress.epoch}")
        if valid_loss < progress.best:
            progress.best, progress.stale = valid_loss, 0
            if self.fabric.is_global_zero:
                save_model(self.average.model, self.folder.model)
            return
        progress.stale += 1
        if config.schedule == "plateau" and progress.stale % config.plateau_patience == 0:
            progress.slowdown *= config.plateau_factor
        if config.patience is not None and progress.stale >= config.patience:
            progress.epoch = self.stage_ends[progress.stage]

    def diverged(self, what: str) -> FloatingPointError:
        """The error, and what there is to do about it."""
        best = f" The best model so far is {self.folder.model}." if self.folder.model.exists() else ""
        return FloatingPointError(
            f"{what}; lower training.learning_rate or training.gradient_clip and start again.{best}"
        )

    def save(self) -> None:
        """The state, after the model of `judge`: killed in between, the epoch is repeated to the same end."""
        if self.fabric.is_global_zero:
            modules = {"model": self.model, "average": self.average.model}
            save_state(self.folder.state, modules, self.optimizer, self.progress)
            write_csv(self.folder.log, self.progress.history)
            self.board.add(self.progress.history[-1])

    def out_of_time(self) -> bool:
        """Whether one more epoch, as long as the last one, would end after the limit."""
        limit, history = self.config.max_minutes, self.progress.history
        return bool(limit and history and self.progress.seconds + history[-1]["seconds"] > 60 * limit)

    def agreed(self, wish: bool) -> bool:
        """Whether any process wishes so."""
        if self.fabric.world_size == 1:
            return wish
        return bool(summed(self.fabric, torch.tensor(float(wish), device=self.fabric.device)))
