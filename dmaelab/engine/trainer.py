"""The training loop, one for all tasks, precisions, gradient accumulation and numbers of processes."""

import contextlib
import logging
import time
import weakref
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from dmaelab.data.batch import Samples, make_batch
from dmaelab.interfaces import Batch, Trainable
from dmaelab.utils.distributed import rank, world_size
from dmaelab.utils.errors import ConfigError, UserError
from dmaelab.utils.precision import autocast
from dmaelab.utils.random import Draw
from dmaelab.weights import fill_exact

logger = logging.getLogger("dmaelab")


class Hook:
    """Base class of hooks: code that runs before and after the steps of a training, in the order of registration.

    A hook reads and changes the training through ``self.trainer``. If it has a state, ``state_dict`` must return all
    that a resumed run needs to continue as if it had never stopped. Checkpoints store it under :attr:`name`, which must
    be unique among the hooks of a trainer.
    """

    trainer: "Trainer"

    @property
    def name(self) -> str:
        """The key of this hook's state in a checkpoint."""
        return type(self).__name__

    def before_train(self) -> None:
        """Run once, before the first step."""

    def before_step(self) -> None:
        """Run before each step."""

    def after_backward(self) -> None:
        """Run when the gradients of a step are complete, before the optimizer uses them."""

    def after_step(self) -> None:
        """Run after each step; ``trainer.step`` is already the number of finished steps."""

    def after_train(self) -> None:
        """Run once, after the last step."""

    def on_data_error(self) -> None:
        """Run if the data of a step cannot be read; the weights are still those after the last finished step."""

    def close(self) -> None:
        """Run once at the end, also after an error: close files, restore signal handlers, and so on."""

    def state_dict(self) -> dict[str, Any]:
        """Return tensors and plain values to save."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""


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
        """Run steps until ``max_iter``, then close every hook, also if a step or a hook raised an error.

        ``before_train`` and ``after_train`` are called even if no step is left to do.
        """
        self.model.train()
        try:
            self._call("before_train")
            while self.step < self.max_iter:
                self._call("before_step")
                self.run_step()
                self.step += 1
                self._call("after_step")
            self._call("after_train")
        except BaseException as ended:
            self._close_hooks(ended)
            raise
        self._close_hooks(None)

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
            last = micro == self.accum_steps - 1
            with self._no_sync(not last), autocast(self.precision, self.device.type):
                losses = self.model(batch)
            with self._no_sync(not last):
                self.scaler.scale(sum(losses.values()) / self.accum_steps).backward()
            for name, value in losses.items():
                share = value.detach() / self.accum_steps
                self.losses[name] = self.losses[name] + share if name in self.losses else share
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
        try:
            raw = next(self.micro_batches)
        except UserError:
            # After the first micro-batch, the statistics of batch norms are already those of an unfinished step. They
            # do not match the weights, so this state must not be saved.
            if micro == 0 or not any(isinstance(module, _BatchNorm) for module in self.inner.modules()):
                self._call("on_data_error")
            raise
        self.data_seconds += time.perf_counter() - started
        draw = Draw(self.seed, "train", self.step, micro * world_size() + rank(), device=self.device)
        # For modules that use torch's global generator (drop path, dropout): the only one that is seeded in each step.
        torch.manual_seed(draw.child("global").seed())
        return make_batch(raw, self.device, draw, progress=self.step / self.max_iter)

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
