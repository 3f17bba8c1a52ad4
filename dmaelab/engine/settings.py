"""The sections ``train``, ``data`` and ``certify`` of a config: their keys, types and defaults."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from omegaconf import DictConfig

from dmaelab.config.plain import interpolated
from dmaelab.config.typecheck import Node
from dmaelab.rules.compilation import Compile
from dmaelab.smoothing.arithmetic import Arithmetic
from dmaelab.utils.errors import ConfigError
from dmaelab.utils.paths import check_name
from dmaelab.utils.precision import PRECISIONS, Precision


@dataclass(frozen=True)
class TrainSettings:
    """The section ``train``: how a training runs.

    Attributes:
        out_dir: run directory; everything that the run writes is in it.
        max_iter: length in optimizer steps; None if ``epochs`` is given.
        epochs: length in epochs of floor(images / batch_size) steps; None if ``max_iter`` is given.
        batch_size: images of one step, over all processes and micro-batches.
        seed: seed of initialisation, data order, noise and masks.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
        precision: ``"fp32"``, ``"bf16"`` or ``"fp16"`` (autocast, fp16 with loss scaling), or ``"auto"``: bf16 if the
            device supports it, else fp32.
        compile: compile the repeated blocks of the model. This needs a compiler, and up to a minute at every start.
        accum_steps: micro-batches per step and process.
        micro_batch: images of one forward and backward of one process, instead of ``accum_steps``. The number of
            micro-batches then follows from it and the number of processes, so that batch statistics and memory are
            the same on any number of GPUs.
        sync_batchnorm: take the statistics of batch norm layers over the micro-batches of all processes. They
            then depend on the number of processes. This needs GPUs. With one process it changes nothing. The paper's
            linear probe has no synchronised statistics.
        clip_grad: largest norm of the gradient; ``None`` does not clip.
        num_workers: number of loader processes, in training and in evaluation; 0 loads in the process itself.
        data_timeout: seconds to wait for a batch of the loader processes, then the run ends with an error; ``None``
            waits for ever. It has no effect without loader processes.
        init_from: run directory or file of the initial weights; ``None`` starts from scratch.
        ema_decay: decay of an exponential moving average of the weights. Evaluation and the final model then use the
            average. ``None`` keeps no average.
        log_period: steps between log records; the host waits for the device only then.
        eval_period: steps between evaluations; 0 evaluates at the end only.
        eval_images: evaluate on this number of evenly spaced test images; ``None`` takes all.
        eval_batch_size: images per forward in evaluation.
        checkpoint_period: steps between checkpoints; 0 writes one at the end only.
        keep_checkpoints: number of periodic checkpoints to keep; older ones are deleted.
        milestones: name -> step (or epoch, if the length is given in epochs) of a further checkpoint ``<name>.pth``,
            which is never deleted.
        best_metric: evaluation metric whose best checkpoint is kept as ``best``; ``None`` keeps none.
        best_mode: whether a larger (``"max"``) or a smaller value is better.
        tensorboard: also write TensorBoard files, to ``tb/``.
        ignore_class_names: do not refuse data sets whose class names differ from those of the training set or of the
            weights: label k means the same class everywhere, whatever its name is. The numbers must still agree.
        stop_grace: seconds from a signal to the end of the process, if no step ends before. Make it longer than a step
            with its evaluation, and shorter than the time after which the scheduler kills the process.
    """

    out_dir: str
    batch_size: int
    max_iter: int | None = None
    epochs: int | None = None
    seed: int = 0
    device: str = "auto"
    precision: Precision = "fp32"
    compile: bool = False
    accum_steps: int = 1
    micro_batch: int | None = None
    sync_batchnorm: bool = False
    clip_grad: float | None = None
    num_workers: int = 0
    data_timeout: float | None = None
    init_from: str | None = None
    ema_decay: float | None = None
    log_period: int = 50
    eval_period: int = 0
    eval_images: int | None = None
    eval_batch_size: int = 256
    checkpoint_period: int = 0
    keep_checkpoints: int = 2
    milestones: dict[str, int] = field(default_factory=dict)
    best_metric: str | None = None
    best_mode: Literal["max", "min"] = "max"
    tensorboard: bool = False
    ignore_class_names: bool = False
    stop_grace: float = 20.0

    def __post_init__(self) -> None:
        check_out_dir("train.out_dir", self.out_dir)
        if (self.max_iter is None) == (self.epochs is None):
            given = f"train.max_iter is {self.max_iter} and train.epochs is {self.epochs}"
            raise ConfigError(f"{given}: give the length in one of them, and set the other to None")
        if self.micro_batch is not None and self.accum_steps != 1:
            raise ConfigError(
                "train.micro_batch and train.accum_steps both set the size of a micro-batch: set"
                " train.micro_batch=None or train.accum_steps=1"
            )
        for name in (
            "max_iter",
            "epochs",
            "batch_size",
            "accum_steps",
            "micro_batch",
            "log_period",
            "eval_batch_size",
            "keep_checkpoints",
        ):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"train.{name} is {value}: it must be at least 1")
        for name in ("eval_period", "checkpoint_period", "num_workers"):
            if getattr(self, name) < 0:
                raise ConfigError(f"train.{name} is {getattr(self, name)}: it must not be negative")
        for name in ("clip_grad", "eval_images", "data_timeout"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"train.{name} is {value}: it must be more than 0, or None")
        if not self.stop_grace > 0:
            raise ConfigError(f"train.stop_grace is {self.stop_grace}: it must be more than 0")
        _check_choice("train.precision", self.precision, ("auto", *PRECISIONS))
        for name, step in self.milestones.items():
            check_name("train.milestones: the name", name)
            if name == "best" or name.startswith("step_"):
                raise ConfigError(
                    f"train.milestones: the name '{name}' is not allowed: other checkpoints have names such as 'best'"
                    " and 'step_...'"
                )
            if not 1 <= step <= (self.epochs or self.max_iter or 0):
                raise ConfigError(
                    f"train.milestones.{name} is {step}: it must be a step or epoch from 1 to the last one"
                )
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise ConfigError(f"train.ema_decay is {self.ema_decay}: give a number in (0, 1), or None")

    @classmethod
    def of(cls, cfg: DictConfig) -> Self:
        """Return the settings in the section ``train`` of a training config; raises ``ConfigError``."""
        return cls(**interpolated(cfg.train))

    def steps(self, images: int) -> tuple[int, dict[str, int]]:
        """Return the length in steps, and the steps of the milestones.

        An epoch is floor(images / batch_size) steps: the incomplete last batch is dropped, as in the official code.

        Args:
            images: number of images of the training set.
        """
        unit = 1 if self.epochs is None else images // self.batch_size
        return unit * (self.epochs or self.max_iter or 0), {name: unit * when for name, when in self.milestones.items()}

    def split(self, processes: int) -> tuple[int, int]:
        """Return (images of a micro-batch, micro-batches per step) of each process.

        Args:
            processes: number of training processes.

        Raises:
            ConfigError: the batch cannot be split evenly.
        """
        accum = (
            self.accum_steps if self.micro_batch is None else max(1, self.batch_size // (processes * self.micro_batch))
        )
        micro, rest = divmod(self.batch_size, processes * accum)
        if rest or micro == 0 or micro > (self.micro_batch or micro):
            cut = f"{accum} accum_steps" if self.micro_batch is None else f"micro-batches of {self.micro_batch}"
            raise ConfigError(f"train.batch_size {self.batch_size} is not divisible by {processes} processes x {cut}")
        return micro, accum


@dataclass(frozen=True)
class DataSettings:
    """The section ``data`` of a training config.

    Attributes:
        train: data set to train on.
        test: data set to evaluate and certify on.
        transform: applied to each training image in the loader's workers.
        augment: applied to each training batch.
    """

    train: Node
    test: Node
    transform: Node = ()
    augment: Node = ()


@dataclass(frozen=True)
class CertifySettings:
    """The section ``certify``: how a certification runs.

    Attributes:
        run: run directory of the training whose model is certified; None if the config has a section ``classifier``.
        weights: ``"final"``, ``"best"``, or a checkpoint file.
        out_dir: the log goes to ``<out_dir>/certify/<name>/``; None means the run directory.
        name: name of the log.
        subset: which images of ``dataset``: ``None`` (all), ``{"count": n}`` evenly spaced, ``{"stride": k}``,
            ``{"random": n, "seed": s}``, ``{"stratified": n, "seed": s}`` (of each class alike), or a list of indices.
        seed: seed of the noise.
        batch_size: noisy images per forward; part of the log's identity.
        precision: ``"fp32"``, ``"bf16"``, ``"fp16"``, or ``"auto"``: bf16 if the device supports it. The certificate
            holds for the network evaluated in this precision.
        channels_last, compile, cuda_graph: how the network is evaluated, see
            :class:`~dmaelab.smoothing.arithmetic.Arithmetic`; None takes the rule of the device.
        on_invalid: what to do with logits that are not finite: ``"stop"`` with an error, or ``"count"`` them as votes
            for an extra class.
        own_randomness: whether the classifier may draw random numbers of its own. You then guarantee that they are
            independent from row to row and from call to call. Part of the log's identity if True.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
        labels: labels for tables, written to the log's header. They win over the ``labels`` of the run. The label
            ``label`` names the row in a plain table.
        ignore_class_names: as in :class:`TrainSettings`: label k of ``dataset`` means label k of the weights, whatever
            their names are.
    """

    run: str | None = None
    weights: str = "final"
    out_dir: str | None = None
    name: str = "default"
    subset: dict | list | None = None
    seed: int = 0
    batch_size: int = 1000
    precision: Precision = "fp32"
    channels_last: bool | None = None
    compile: Compile | None = None
    cuda_graph: bool | None = None
    on_invalid: Literal["stop", "count"] = "stop"
    own_randomness: bool = False
    device: str = "auto"
    labels: dict[str, Any] = field(default_factory=dict)
    ignore_class_names: bool = False

    def __post_init__(self) -> None:
        check_name("certify.name", self.name)
        if self.out_dir is not None:
            check_out_dir("certify.out_dir", self.out_dir)
        if self.batch_size < 1:
            raise ConfigError(f"certify.batch_size is {self.batch_size}: it must be at least 1")
        _check_choice("certify.precision", self.precision, ("auto", *PRECISIONS))
        _check_choice("certify.on_invalid", self.on_invalid, ("stop", "count"))

    @classmethod
    def of(cls, cfg: DictConfig) -> Self:
        """Return the settings in the section ``certify`` of a certification config; raises ``ConfigError``."""
        return cls(**interpolated(cfg.certify))

    @property
    def arithmetic(self) -> Arithmetic:
        """The arithmetic of the forward. Values that are None or ``auto`` are filled in later by the device's rules."""
        return Arithmetic(self.precision, self.channels_last, self.compile, self.cuda_graph)


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ConfigError(f"{name} is '{value}': choose one of {', '.join(choices)}")


def check_out_dir(name: str, path: str) -> None:
    """Raise ``ConfigError`` if a text is no folder for results."""
    if not path.strip():
        raise ConfigError(f"{name} is '{path}': give a folder, '.' for the working directory")
    if path.startswith("~"):
        raise ConfigError(f"{name} is '{path}', and ~ is not replaced there: give $HOME/... or the whole path")
