"""The training loop, one for all tasks, precisions, gradient accumulation and numbers of processes."""

import contextlib
import logging
import time
import traceback
import weakref
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from dmaelab.data.batch import Samples, make_batch
from dmaelab.engine.hooks.base import Hook
from dmaelab.interfaces import Batch, Trainable
from dmaelab.utils.distributed import rank, world_size
from dmaelab.utils.errors import ConfigError, MachineError, UserError
from dmaelab.utils.machine import machine_error
from dmaelab.utils.precision import autocast
from dmaelab.utils.random import Draw
from dmaelab.weights import fill_exact

logger = logging.getLogger("dmaelab")


AnyHook = TypeVar("AnyHook", bound=Hook)


class Trainer:
    """Runs optimizer steps on micro-batches and calls hooks.

    Args:
        model: a :class:`~dmaelab.interfaces.Trainable`, perhaps wrapped for distributed training.
        optimizer: optimizer of the model's parameters.
        micro_batches: endless iterator; a step takes ``accum_steps`` of them.
        max_iter: number of steps.
        device: device of model and batches.
        seed: noise and masks of micro-batch ``g = micro * world + rank`` of a step come from
            ``(seed, "train", step, g)``. They do not depend on how the micro-batches are split over processes.
        precision: ``"fp32"``, ``"bf16"`` or ``"fp16"`` autocast; fp16 uses loss scaling, and a step whose gradients
            overflow changes no weights.
        accum_steps: micro-batches per step and process.
        clip_grad: largest gradient norm; ``None`` does not clip.

    Attributes:
        step: number of finished steps.
        losses: named losses of the current step: scalar tensors on the device, means over its micro-batches.
        grad_norm: gradient norm before clipping; ``None`` without clipping, 0 in a step that loss scaling skips.
        data_seconds: time that the current step waited for data.
        pending: values for the next log record; hooks add to it.
        hooks: the registered hooks, in the order in which they run.
        intact: whether weights, moments, statistics and the states of the hooks are those after ``step`` finished
            steps, so that they may be saved.
        fault: a fault of the machine that ends the training when the hooks have done their part of the current step.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        micro_batches: Iterator[Samples],
        max_iter: int,
        device: torch.device,
        seed: int = 0,
        precision: str = "fp32",
        accum_steps: int = 1,
        clip_grad: float | None = None,
    ) -> None:
        self.model, self.optimizer, self.micro_batches = model, optimizer, micro_batches
        self.max_iter, self.device, self.seed = max_iter, device, seed
        self.precision, self.accum_steps, self.clip_grad = precision, accum_steps, clip_grad
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
        self.step = 0
        self.losses: dict[str, Tensor] = {}
        self.grad_norm: Tensor | None = None
        self.data_seconds = 0.0
        self.pending: dict[str, float] = {}
        self.hooks: list[Hook] = []
        self.intact = False
        self.fault: MachineError | None = None

    @property
    def inner(self) -> Trainable:
        """The model without the wrapper of distributed training."""
        wrapped = isinstance(self.model, DistributedDataParallel)
        return cast(Trainable, self.model.module if wrapped else self.model)

    def register_hooks(self, hooks: Sequence[Hook]) -> None:
        """Add hooks; ``ConfigError`` if two have the same name, because they would share their saved state."""
        for hook in hooks:
            if any(hook.name == other.name for other in self.hooks):
                raise ConfigError(f"hooks: two are called {hook.name}; override `name` in one of them")
            hook.trainer = weakref.proxy(self)
            self.hooks.append(hook)

    def find_hook(self, kind: type[AnyHook]) -> AnyHook | None:
        """Return the first hook of a class, or None if there is none."""
        return next((hook for hook in self.hooks if isinstance(hook, kind)), None)

    def train(self) -> None:
        """Run steps until ``max_iter`` and :meth:`finish`, then close every hook, also if an error was raised.

        ``before_train`` and ``after_train`` are called even if no step is left to do.

        Raises:
            MachineError: the machine failed. The finished steps are saved if the state is still theirs.
        """
        self.model.train()
        try:
            self._call("before_train")
            while self.step < self.max_iter:
                self._call("before_step")
                self.run_step()
                self.step += 1
                self._call("after_step")
                if self.fault is not None:
                    self.intact = True
                    raise self.fault
            self._call("after_train")
            self.finish()
        except BaseException as ended:
            try:
                fault = self._fault(ended)
            finally:
                self._close_hooks(ended)
            if fault is None:
                raise
            raise fault from ended
        self._close_hooks(None)

    def finish(self) -> None:
        """Run once after the last step, before the hooks are closed; subclasses write their results here."""

    def _fault(self, ended: BaseException) -> MachineError | None:
        """Return the error to raise if the machine ended the training, after saving the finished steps if possible."""
        fault = machine_error(ended, "lower train.micro_batch")
        if fault is None:
            return None
        traceback.clear_frames(ended.__traceback__)  # the frames hold the activations of the step
        saved = self._save_finished()
        left = f"the {self.step} finished steps are saved" if saved else "steps after the last checkpoint are not saved"
        return MachineError(f"{fault}; {left}: continue with --resume (a pipeline: with the same command)")

    def _save_finished(self) -> bool:
        """Let the hooks save the finished steps if the state is theirs, and return whether one has saved them."""
        try:
            return self.intact and any([hook.on_fault() for hook in self.hooks])
        except Exception as error:  # the first error is the one to report
            reason = machine_error(error) or str(error).split("\n")[0]
            logger.warning("saving the finished steps failed, too: %s", reason)
            return False

    def _close_hooks(self, ended: BaseException | None) -> None:
        """Close every hook in the order of the list; the last one gives the signals back.

        Args:
            ended: the error that ended the training, which is the one to report. If it is None, the first error of
                closing is raised. All others are logged.
        """
        errors = []
        for hook in self.hooks:
            try:
                hook.close()
            except BaseException as error:  # even after a second Ctrl-C the hooks that are left must be closed
                errors.append(error)
        for another in errors if ended else errors[1:]:
            logger.warning("closing a hook failed, too: %s: %s", type(another).__name__, another)
        if errors and not ended:
            raise errors[0]

    def run_step(self) -> None:
        """Run forward and backward on each micro-batch, then one optimizer step."""
        self.losses, self.data_seconds = {}, 0.0
        for micro in range(self.accum_steps):
            batch = self._next_batch(micro)
            self.intact = not self._has_batch_norm
            last = micro == self.accum_steps - 1
            with self._no_sync(not last), autocast(self.precision, self.device.type):
                losses = self.model(batch)
            with self._no_sync(not last):
                self.scaler.scale(sum(losses.values()) / self.accum_steps).backward()
            for name, value in losses.items():
                share = value.detach() / self.accum_steps
                self.losses[name] = self.losses[name] + share if name in self.losses else share
        self.intact = False
        self.grad_norm = None if self.clip_grad is None else self._clip(self.clip_grad)
        self._call("after_backward")
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)

    def _clip(self, limit: float) -> Tensor:
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), limit)
        return norm.nan_to_num(0.0, 0.0) if self.scaler.is_enabled() else norm

    def _next_batch(self, micro: int) -> Batch:
        started = time.perf_counter()
        # After the first micro-batch, the statistics of batch norms are already those of an unfinished step. They do
        # not match the weights, so this state must not be saved.
        self.intact = micro == 0 or not self._has_batch_norm
        try:
            raw = next(self.micro_batches)
        except UserError:
            self._save_finished()
            raise
        self.intact = False
        self.data_seconds += time.perf_counter() - started
        draw = Draw(self.seed, "train", self.step, micro * world_size() + rank(), device=self.device)
        # For modules that use torch's global generator (drop path, dropout): the only one that is seeded in each step.
        torch.manual_seed(draw.child("global").seed())
        return make_batch(raw, self.device, draw, progress=self.step / self.max_iter)

    @cached_property
    def _has_batch_norm(self) -> bool:
        return any(isinstance(module, _BatchNorm) for module in self.inner.modules())

    def _no_sync(self, skip: bool) -> contextlib.AbstractContextManager:
        if skip and isinstance(self.model, DistributedDataParallel):
            return self.model.no_sync()
        return contextlib.nullcontext()

    def _call(self, moment: str) -> None:
        for hook in self.hooks:
            getattr(hook, moment)()

    def state_dict(self) -> dict[str, Any]:
        """Return all that a run needs to continue exactly.

        It holds no state of random generators, because all random numbers follow from seed, step and micro-batch.
        """
        return {
            "model": self.inner.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "step": self.step,
            "hooks": {hook.name: hook.state_dict() for hook in self.hooks},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned.

        The optimizer takes its moments from ``state``, but keeps the options that it was built with (learning rate,
        weight decay, betas, ...). A hook that is missing in ``state`` keeps its initial state.

        Raises:
            UserError: the state is of another architecture or of other parameter groups.
        """
        fill_exact(self.inner, state["model"], "the checkpoint")
        options = [
            {name: value for name, value in group.items() if name != "params"} for group in self.optimizer.param_groups
        ]
        try:
            self.optimizer.load_state_dict(state["optimizer"])
        except ValueError as error:
            raise UserError(
                f"the checkpoint is of another optimizer ({error}): resume with the options that the run began with"
            ) from None
        for group, own in zip(self.optimizer.param_groups, options, strict=True):
            group.update(own)
        if state.get("scaler"):  # empty unless the run was in fp16
            self.scaler.load_state_dict(state["scaler"])
        self.step = state["step"]
        for hook in self.hooks:
            if hook.name in state["hooks"]:
                hook.load_state_dict(state["hooks"][hook.name])
