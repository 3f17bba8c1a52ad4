"""What a model costs before any of it is run: parameters, multiply-adds, and the memory of a training step."""

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
from dmaelab.data import Batch, Samples, make_batch
from dmaelab.engine import certification, training
from dmaelab.engine.resolve import resolve
from dmaelab.engine.run_dir import RunDirectory
from dmaelab.utils.distributed import pick_device
from dmaelab.utils.errors import ConfigError, UserError
from dmaelab.utils.precision import autocast
from dmaelab.utils.random import Draw


@dataclass(frozen=True)
class ModelAnalysis:
    """What :func:`analyze` found.

    Attributes:
        parameters: numbers in the model, frozen ones included: the "#Params" of papers.
        trainable: those that the optimizer moves.
        parts: parameters of each part: encoder and decoder, or backbone and head.
        flops: multiply-adds of one forward per image: products of matrices, attention's included, and convolutions,
            each counted once. (Two operations make a multiply-add: hardware figures are twice as large.)
        activation_bytes: what autograd keeps of a training step for its backward pass, per image of the batch (all
            noise copies of an image together), each storage once, parameters and their casts left out.
        weight_bytes: parameters and buffers.
        gradient_bytes: gradients of the trainable parameters.
        optimizer_bytes: the state that the optimizer keeps from its first step on.
        precision: of the training step.

    Those of the training are None for a classifier that is only certified.
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
        """Return the bytes of a training step on ``batch_size`` images at once: all of the above together.

        Workspaces of kernels, the gradients of activations, a moving average and the loader's batches come on top.
        """
        if self.activation_bytes is None or self.gradient_bytes is None or self.optimizer_bytes is None:
            return None
        return self.weight_bytes + self.gradient_bytes + self.optimizer_bytes + batch_size * self.activation_bytes


def analysis_config(source: str | Path, overrides: Sequence[str] = ()) -> DictConfig:
    """Return the config to analyse: of a training, a run directory, or a certification (of its run, or its own
    classifier).

    Raises:
        UserError: there is no such run or config, or it names no model.
    """
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


def analyze(cfg: DictConfig, shape: tuple[int, int, int] | None = None) -> ModelAnalysis:
    """Return what the model of a config of :func:`analysis_config` costs.

    Everything is computed on fake tensors, which have shapes and no data: a model of any size takes no memory.
    The training step is the real one of the CPU, in the precision and with the attention that the config has or that
    the rules give for its device. (Autocast on CUDA keeps norms and softmax in fp32, somewhat more than this.)

    Args:
        shape: [C,H,W] of an image; by default what the network is made for.

    Raises:
        UserError: the network takes any size and ``shape`` is not given, or it decides by values that it computes.
    """
    is_training = "model" in cfg
    if is_training:
        cfg = resolve(cfg, pick_device(cfg.train.get("device", "auto")))
    with torch.device("meta"):  # where initialisation is skipped, which may depend on what it draws
        model = instantiate(cfg.model if is_training else cfg.classifier)
    try:
        with FakeTensorMode(allow_non_fake_inputs=True):  # a Draw makes its numbers on the host
            # Not to_empty(), which would make fakes of the old tensors first and then cannot replace them.
            model._apply(lambda tensor: torch.empty(tensor.shape, dtype=tensor.dtype))
            exported = model.export() if is_training else model
            shape = shape or _shape(exported)
            own = _costs(exported, shape, takes_batch=exported is model and is_training)
            return ModelAnalysis(**own, **(_training_costs(cfg, model, shape) if is_training else {}))
    except (DataDependentOutputException, DynamicOutputShapeException) as error:
        raise UserError(
            f"the model cannot be analysed without data: what it does depends on values that it computes ({error})"
        ) from None


def _costs(module: nn.Module, shape: tuple[int, ...], takes_batch: bool) -> dict[str, Any]:
    """Return what does not depend on a training. An autoencoder takes a batch, which it masks; a classifier images."""
    batch = _batch(1, shape)
    # The plain products stand for every kernel of attention: they do the same multiply-adds, and are seen.
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
    """Return what a step needs: activations from two batches, whose difference holds no parameters, the rest from one
    step.
    """
    precision = cfg.train.precision
    # Two images at least: batch normalisation and mixing want a neighbour.
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
    storages: dict[int, torch.UntypedStorage] = {}  # keeping them keeps their keys apart

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
    """Return [C,H,W] of the images that a network is made for: its own side, at which nothing is resized."""
    preprocess = getattr(module, "preprocess", None)
    network = getattr(module, "backbone", None) or getattr(module, "encoder", None)
    side = getattr(preprocess, "input_size", None) or getattr(network, "input_size", None)
    if preprocess is None or side is None:
        raise UserError(
            f"this {type(module).__name__} does not say for which images it is made: give --shape, such as 3x224x224"
        )
    return len(preprocess.pixel_mean), side, side


def _numel(parameters: Iterable[Tensor]) -> int:
    return sum(parameter.numel() for parameter in parameters)


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
