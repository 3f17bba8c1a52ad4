"""The probe: a few forwards that show whether a module treats each row of a batch on its own.

The votes of an image are counted as independent samples of f(x + noise) (Cohen et al., 2019). They are not if the
output of a row changes with the other rows of its batch, with its place, or with earlier calls. The probe finds most
modules of this kind. A module that passes is not proved to be sound; docs/certification.md says what cannot be seen.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from dmaelab.rules.compilation import uncompiled
from dmaelab.smoothing.arithmetic import fixed_kernels
from dmaelab.smoothing.blame import Call, first_difference, traced
from dmaelab.smoothing.smoothing import Smoothing, check_logits
from dmaelab.utils.errors import UserError
from dmaelab.utils.module_state import ModuleState, buffers_of, identical
from dmaelab.utils.precision import PRECISIONS
from dmaelab.utils.random import Draw
from dmaelab.utils.seeding import global_generators

ROWS = 32
"""The largest batch of a probe, unless the module takes no other than the whole batch."""


class Fault(NamedTuple):
    """What is wrong with a module, and what to do."""

    what: str
    advice: str


NEIGHBOURS = Fault(
    "the output of a row changes with the other rows of its batch",
    "use layers that treat each row on its own, such as batch norm with running statistics in eval mode",
)
PLACE = Fault("the output of a row changes with its place in the batch", "treat all rows in the same way")
CALLS = Fault(
    "the output of a row changes from call to call, with all global random generators seeded alike",
    "keep nothing from earlier batches, and draw random numbers from torch's global generator, if any",
)
STATE = Fault("a forward changes its buffers or its mode", "leave both as they are in eval mode")
RANDOM = Fault(
    "it draws random numbers",
    "switch them off in eval mode; or, if those of each row are independent of those of all others, set"
    " own_randomness=True (certify.own_randomness=True in a config)",
)
SHARED = Fault("all rows of a batch share its random numbers", "draw other numbers for each row")


class Finding(NamedTuple):
    """What the probe found. As a text it is the beginning of a message."""

    fault: Fault
    where: str

    def __str__(self) -> str:
        return self.fault.what + self.where


_passed: WeakKeyDictionary[nn.Module, set[Any]] = WeakKeyDictionary()  # module -> settings with which it has passed


def check_rows(smoothing: Smoothing, shape: tuple[int, ...]) -> None:
    """Probe the base classifier on images of ``shape`` (C, H, W), unless it has passed in this process before.

    The forwards have at most :data:`ROWS` rows, in the precision and on the device of the certification; nothing is
    compiled or recorded for them. A module that fails on so few rows is probed with a whole batch. It is probed again
    if the settings, its parts or their modes are others, but not if only its weights are.

    Raises:
        UserError: the module does not treat each row on its own, its parameters have no values yet, or it does not
            return logits [N, num_classes].
    """
    module = smoothing.base_classifier
    if empty := [name for name, value in module.named_parameters() if is_lazy(value)]:
        raise UserError(
            f"{type(module).__name__}: parameters have no values yet ({', '.join(empty)}): load its weights before"
        )
    few = min(ROWS, smoothing.batch_size)
    arithmetic = replace(smoothing.arithmetic, compile=False, cuda_graph=False)
    modes = tuple((type(part), part.training) for part in module.modules())
    key = (shape, few, smoothing.num_classes, arithmetic, smoothing.own_randomness, modes)
    if key in _passed.setdefault(module, set()):
        return
    finding = None
    for rows in (few, smoothing.batch_size):
        try:
            finding = _probe(smoothing, shape, rows)
            break
        except Exception:
            if rows == smoothing.batch_size:
                raise
    if finding is not None:
        raise UserError(
            f"{type(module).__name__}: {finding}; votes must be independent samples: {finding.fault.advice}"
        )
    _passed[module].add(key)


def _probe(smoothing: Smoothing, shape: tuple[int, ...], rows: int) -> Finding | None:
    module, arithmetic, device = smoothing.base_classifier, smoothing.arithmetic, smoothing.device
    buffer = arithmetic.images(rows, shape, device)
    draw = Draw(0, "eval", "probe", device=device)
    noise = draw.child("noise").normal(buffer.shape)  # Gaussian for every corruption: how large counts, not which law
    images = draw.child("pixels").uniform(buffer.shape) + smoothing.sigma * noise

    def logits(images: Tensor) -> Tensor:
        buffer.copy_(images)
        with arithmetic.autocast(device):
            return check_logits(module(buffer), rows, smoothing.num_classes)

    here = torch.cuda.device(device) if device.type == "cuda" else nullcontext()
    with here, torch.no_grad(), fixed_kernels(device), uncompiled():
        try:
            return row_dependence(module, images, logits, arithmetic.precision, smoothing.own_randomness)
        finally:
            torch.clear_autocast_cache()  # an autocast around the caller's code would keep its copies of the weights


def row_dependence(
    module: nn.Module,
    images: Tensor,
    call: Callable[[Tensor], Tensor],
    precision: str = "fp32",
    own_randomness: bool = False,
) -> Finding | None:
    """Return on what the outputs of a module depend besides their own row, or None if nothing was found.

    Four forwards of one shape compare the outputs of the same rows: among other neighbours (twice, so that each row is
    once among those that stay), and one place further. Between them the global random generators are seeded
    differently. Kernels are chosen by shape, so equal rows have equal bits, as a rule. Two outputs count as equal if
    they differ by less than the square root of the epsilon of the precision (0.0003 in fp32, 0.03 in fp16, 0.09 in
    bf16), relative to the largest output of that column. After a difference, more forwards find out what kind it is.

    The state of the module and of the global random generators is put back at the end.

    Args:
        module: the module, in eval mode.
        images: [N,C,H,W], images such as it gets.
        call: the forward of the module, images [N,C,H,W] -> [N,K]; it must not keep or change its input.
        precision: the precision of the forward, one of :data:`~dmaelab.utils.precision.PRECISIONS`.
        own_randomness: whether the module may draw random numbers. Then all forwards are seeded alike, places are not
            compared, and it is refused if all rows share the numbers.
    """
    state = ModuleState(module)
    try:
        return _Probe(module, state, images, call, precision, own_randomness).find()
    finally:
        state.restore()


class _Probe:
    """The forwards of :func:`row_dependence` and what is compared between them."""

    def __init__(
        self,
        module: nn.Module,
        state: ModuleState,
        images: Tensor,
        call: Callable[[Tensor], Tensor],
        precision: str,
        own_randomness: bool,
    ) -> None:
        self.module, self.state, self.images, self.call = module, state, images, call
        self.own_randomness, self.rows = own_randomness, len(images)
        self.tolerance = torch.finfo(PRECISIONS[precision] or torch.float32).eps ** 0.5
        self.all = torch.arange(self.rows, device=images.device)
        self.modes = {name: part.training for name, part in module.named_modules()}
        self.first, self.buffers = self.run(images, 0), buffers_of(module)

    def find(self) -> Finding | None:
        """Return the first finding."""
        # Random halves: rows that are paired or grouped in some regular way are then in different halves.
        draw = Draw(0, "eval", "probe", "half", device=self.images.device)
        half = draw.uniform((self.rows,)).argsort() < self.rows // 2
        finding = self.among_others(half, seed=1)
        self.state.restore()  # the second batch is again the first one that the module sees
        finding = finding or self.among_others(~half, seed=2)
        return finding or (self.shared() if self.own_randomness else self.moved(seed=3))

    def among_others(self, changed: Tensor, seed: int) -> Finding | None:
        """Compare the rows that stay when the rows ``changed``, bool [N], get very different images."""
        noise = Draw(0, "eval", "probe", "strangers", device=self.images.device).normal(self.images.shape)
        # Nearly black and nearly white, but not constant: a module may refuse an image without contrast.
        kinds = torch.stack([0.01 * noise, 1 + 0.01 * noise, 3 * noise, -self.images])
        batch = torch.where(changed.view(-1, 1, 1, 1), kinds[self.all % len(kinds), self.all], self.images)
        kept = self.all[~changed]
        if self.differ(self.first, self.run(batch, 0 if self.own_randomness else seed))[kept].any():
            return self.explain(NEIGHBOURS, batch, kept, kept)
        after = buffers_of(self.module)
        names = [
            name
            for name in self.buffers.keys() | after.keys()
            if name not in after or name not in self.buffers or not identical(self.buffers[name], after[name])
        ]
        names += [name for name, part in self.module.named_modules() if self.modes.get(name) != part.training]
        return Finding(STATE, f", of {', '.join(sorted(names))}") if names else None

    def moved(self, seed: int) -> Finding | None:
        """Compare the rows one place further."""
        there = self.all.roll(-1)
        batch = self.images.roll(1, 0)
        changed = self.differ(self.first, self.run(batch, seed)[there])
        # At another place another kernel may be used, so that a near tie inside the module can fall the other way.
        return self.explain(PLACE, batch, self.all, there) if changed.sum() > self.rows // 4 else None

    def shared(self) -> Finding | None:
        """Compare the outputs of one batch of equal images for two seeds."""
        batch = self.images[:1].expand_as(self.images)
        one, other = self.run(batch, 0), self.run(batch, 1)
        alike = not self.differ(one, one[:1].expand_as(one)).any()
        return Finding(SHARED, "") if self.rows > 1 and alike and self.differ(one, other).any() else None

    def explain(self, fault: Fault, batch: Tensor, rows: Tensor, there: Tensor) -> Finding:
        """Return what is behind a difference between ``rows`` of the first batch and the rows ``there`` of another."""

        def fresh(images: Tensor, seed: int, *, before: Tensor | None = None) -> tuple[Tensor, list[Call]]:
            self.state.restore()
            if before is not None:
                self.run(before, 0)
            with traced(self.module, self.rows) as calls:
                return self.run(images, seed), calls

        first, changed = fresh(self.images, 0), fresh(batch, 0)
        pairs = [
            (CALLS, first, fresh(self.images, 0, before=self.images), self.all, self.all),
            (CALLS, changed, fresh(batch, 0, before=self.images), self.all, self.all),
        ]
        if not self.own_randomness:
            pairs.append((RANDOM, first, fresh(self.images, 1), self.all, self.all))
        pairs.append((fault, first, changed, rows, there))
        for kind, one, other, here, mapped in pairs:
            if self.differ(one[0][here], other[0][mapped]).any():
                return Finding(kind, first_difference(one[1], other[1], here, mapped))
        return Finding(CALLS, "")  # the difference does not come back

    def run(self, images: Tensor, seed: int) -> Tensor:
        """Return the outputs float64 [N,K] of one forward, with the global random generators seeded."""
        with global_generators(seed, images.device):
            return self.call(images).detach().to(torch.float64, copy=True)

    def differ(self, one: Tensor, other: Tensor) -> Tensor:
        """Return for each row, as bool [N], whether the outputs differ by more than rounding."""
        sizes = self.first.abs().nan_to_num(0, 0, 0).amax(0)
        sizes = torch.maximum(sizes, sizes.median())  # of a column of tiny probabilities
        same = (one == other) | (one.isnan() & other.isnan()) | ((one - other).abs() <= self.tolerance * sizes)
        return ~same.all(1)
