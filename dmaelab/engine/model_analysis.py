"""Cost of a model, computed without running it: parameters, multiply-adds, and memory of a training step."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from dmaelab.config import LazyConfig, instantiate, open_config
from dmaelab.config.overrides import trust_named
from dmaelab.data import Batch, Samples, make_batch
from dmaelab.engine import certification, training
from dmaelab.engine.resolve import resolve
from dmaelab.engine.run_dir import RunDirectory
from dmaelab.utils.distributed import pick_device
from dmaelab.utils.errors import ConfigError, UserError
from dmaelab.utils.machine import machine_faults
from dmaelab.utils.precision import autocast
from dmaelab.utils.random import Draw


@dataclass(frozen=True)
class ModelAnalysis:
    """Result of :func:`analyze`.

    The fields from ``activation_bytes`` on describe a training step. They are None for a classifier that is only
    certified.

    Attributes:
        parameters: number of parameters, frozen ones included; papers call it "#Params".
        trainable: number of parameters that require a gradient.
        parts: number of parameters of each part: encoder and decoder, or backbone and head.
        flops: multiply-adds of one forward per image, in matrix products (attention included) and convolutions.
            A multiply-add is counted once; hardware figures count it as two operations.
        weight_bytes: bytes of parameters and buffers.
        activation_bytes: bytes that autograd keeps for the backward pass, per image of the batch (with all noisy
            copies of that image). Each storage counts once; parameters and their casts are left out.
        gradient_bytes: bytes of the gradients of the parameters in the optimizer.
        optimizer_bytes: bytes of the optimizer's state after its first step.
        precision: precision of the training step.
    """

    parameters: int
    trainable: int
    parts: dict[str, int]
    flops: int
    weight_bytes: int
    activation_bytes: int | None = None
    gradient_bytes: int | None = None
    optimizer_bytes: int | None = None
    precision: str | None = None

    def step_bytes(self, batch_size: int) -> int | None:
        """Return the bytes of a training step on ``batch_size`` images; None without a training.

        This is the sum of weights, gradients, optimizer state and activations. Not included are workspaces of
        kernels, gradients of activations, a moving average, and the loader's batches.
        """
        if self.activation_bytes is None or self.gradient_bytes is None or self.optimizer_bytes is None:
            return None
        return self.weight_bytes + self.gradient_bytes + self.optimizer_bytes + batch_size * self.activation_bytes


def analysis_config(source: str | Path, overrides: Sequence[str] = ()) -> DictConfig:
    """Return the config of the model to analyse.

    Args:
        source: run directory, training config, or certification config. For a certification of a run, the config of
            that run is returned.
        overrides: ``key=value`` texts, as on the command line.

    Raises:
        UserError: there is no such run or config, or it names no model.
    """
    trust_named(overrides)
    sections = {**training.SECTIONS, **certification.SECTIONS}
    if Path(source).is_dir():
        cfg = LazyConfig.apply_overrides(RunDirectory(source).config, overrides, sections=sections)
    else:
        cfg = open_config(source, overrides, sections)
    if "certify" not in cfg:
        training.check_training(cfg)
    elif "classifier" not in cfg:
        if cfg.certify.get("run") is None:
            raise ConfigError("certify.run: name the run directory of the model, or analyse the config of its training")
        return RunDirectory(cfg.certify.run).config
    return cfg


@machine_faults("analyse a smaller image (--shape)")
def analyze(cfg: DictConfig, shape: tuple[int, int, int] | None = None) -> ModelAnalysis:
    """Return the cost of the model of a config from :func:`analysis_config`.

    Everything is computed on fake tensors, which have a shape but no data, so that a model of any size needs no
    memory. The training step is that of the CPU, with the precision and attention kernel of the config, or of the
    rules for its device. On CUDA autocast keeps norms and softmax in fp32, which takes somewhat more memory.

    Args:
        cfg: config of a training, or of a certification with a section ``classifier``.
        shape: (C, H, W) of an image; by default the size that the network is built for.

    Raises:
        UserError: the network takes any size and ``shape`` is not given, or its control flow depends on values that
            it computes.
        MachineError: memory is full.
    """
    is_training = "model" in cfg
    if is_training:
        cfg = resolve(cfg, pick_device(cfg.train.get("device", "auto")))
    with torch.device("meta"):  # skips the initialisation, whose control flow may depend on random values
        model = instantiate(cfg.model if is_training else cfg.classifier)
    try:
        with FakeTensorMode(allow_non_fake_inputs=True):  # a Draw makes real tensors, on the host
            # to_empty() does not work here: it turns the old tensors into fake ones and then cannot replace them.
            model._apply(lambda tensor: torch.empty(tensor.shape, dtype=tensor.dtype))
            exported = model.export() if is_training else model
            shape = shape or _shape(exported)
            own = _costs(exported, shape, takes_batch=exported is model and is_training)
            return ModelAnalysis(**own, **(_training_costs(cfg, model, shape) if is_training else {}))
    except (DataDependentOutputException, DynamicOutputShapeException) as error:
        raise UserError(
            f"the model cannot be analysed without data: its control flow depends on values that it computes ({error})"
        ) from None


def _costs(module: nn.Module, shape: tuple[int, ...], takes_batch: bool) -> dict[str, Any]:
    """Return the fields that need no training. An autoencoder takes a ``Batch``, a classifier takes images."""
    batch = _batch(1, shape)
    # The counter sees only the plain (MATH) attention; the fused kernels do the same number of multiply-adds.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        module.eval()(batch if takes_batch else batch.images)
    parameters = list(module.parameters())
    return {
        "parameters": _numel(parameters),
        "trainable": _numel(p for p in parameters if p.requires_grad),
        "parts": {name: count for name, part in module.named_children() if (count := _numel(part.parameters()))},
        "flops": counter.get_total_flops() // 2,
        "weight_bytes": _bytes([*parameters, *module.buffers()]),
    }


def _training_costs(cfg: DictConfig, model: nn.Module, shape: tuple[int, ...]) -> dict[str, Any]:
    """Return the fields of a training step.

    The activations per image are half the difference between batches of 4 and of 2 images. The difference removes
    what does not grow with the batch, such as casts of parameters. The rest is measured on one optimizer step.
    """
    precision = cfg.train.precision
    # At least two images, because batch normalisation and mixup do not work with one.
    small, large = (_saved_bytes(model.train(), _batch(count, shape), precision) for count in (2, 4))
    optimizer = instantiate(cfg.optimizer, model=model)
    moved = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for parameter in moved:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    state = [value for values in optimizer.state.values() for value in values.values() if isinstance(value, Tensor)]
    return {
        "activation_bytes": (large - small) // 2,
        "gradient_bytes": _bytes(moved),
        "optimizer_bytes": _bytes(state),
        "precision": precision,
    }


def _saved_bytes(model: nn.Module, batch: Batch, precision: str) -> int:
    """Return the bytes that autograd keeps of a forward pass, each storage once."""
    storages: dict[int, torch.UntypedStorage] = {}  # keeps the storages alive, so that no address is used twice

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage._cdata] = storage
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor), autocast(precision, "cpu"):
        model(batch)
    return sum(storage.nbytes() for storage in storages.values())


def _batch(count: int, shape: tuple[int, ...]) -> Batch:
    samples = Samples(torch.zeros(count, *shape), torch.zeros(count, dtype=torch.int64), torch.arange(count))
    return make_batch(samples, "cpu", Draw(0, "train", 0, 0), progress=0.0)


def _shape(module: Any) -> tuple[int, int, int]:
    """Return (C, H, W) of the images that a network is built for: its ``input_size``, at which nothing is resized."""
    preprocess = getattr(module, "preprocess", None)
    network = getattr(module, "backbone", None) or getattr(module, "encoder", None)
    side = getattr(preprocess, "input_size", None) or getattr(network, "input_size", None)
    if preprocess is None or side is None:
        raise UserError(
            f"this {type(module).__name__} does not say which image size it takes: give --shape, such as 3x224x224"
        )
    return len(preprocess.pixel_mean), side, side


def _numel(parameters: Iterable[Tensor]) -> int:
    return sum(parameter.numel() for parameter in parameters)


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
