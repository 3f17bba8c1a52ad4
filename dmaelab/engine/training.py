"""run_training and run_evaluation: train or evaluate a model from a config."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from omegaconf import DictConfig, ListConfig

from dmaelab.config import check, instantiate
from dmaelab.config.imports import check_import, find
from dmaelab.engine.classes import ClassList, compare_classes
from dmaelab.engine.defaults import DefaultTrainer
from dmaelab.engine.evaluation import evaluate
from dmaelab.engine.hooks.preemption import CONTINUE, PreemptionHook, stop_error
from dmaelab.engine.inherited_labels import inherit_labels
from dmaelab.engine.resolve import resolve
from dmaelab.engine.run_dir import RunDirectory
from dmaelab.engine.settings import DataSettings, TrainSettings
from dmaelab.engine.slurm_section import SlurmSettings
from dmaelab.records.labels import CONFIG_SECTION
from dmaelab.utils.distributed import barrier, is_main, pick_device, world_size
from dmaelab.utils.errors import ConfigError, MachineError
from dmaelab.utils.logs import setup_logging
from dmaelab.utils.machine import GROUP_BROKE
from dmaelab.utils.signals import preempted_by_signals
from dmaelab.utils.watchdog import WATCHDOG, interrupted

logger = logging.getLogger("dmaelab")

SECTIONS = {"train": TrainSettings, "data": DataSettings, "labels": CONFIG_SECTION, "slurm": SlurmSettings}
_NODES = ("model", "optimizer", "schedule")


def check_training(cfg: DictConfig) -> TrainSettings:
    """Check a whole training config without building anything, and return its section ``train``.

    Raises:
        ConfigError: the config is wrong; one line names the first problem.
    """
    for name in (*_NODES, "train", "data"):
        if name not in cfg:
            for section, what in (
                ("certify", "a certification: use tools/certify.py"),
                ("stages", "a pipeline: use tools/pipeline.py"),
            ):
                if section in cfg:
                    raise ConfigError(f"this config is {what}")
            raise ConfigError(f"{name}: a training config needs this section")
    check(
        cfg,
        sections=SECTIONS,
        allowed=(*_NODES, "hooks"),
        plain_sections=("trainer", "debug"),
        extra={"optimizer": ["model"]},
    )
    if not isinstance(cfg.get("hooks", []), (list, ListConfig)):
        raise ConfigError("hooks: give a list of nodes, such as hooks=[L(MyHook)(...)]")
    trainer_of(cfg)
    SlurmSettings.of_config(cfg)
    return TrainSettings.of(cfg)


def trainer_of(cfg: DictConfig) -> type[DefaultTrainer]:
    """Return the class that a training config names in ``trainer``, by default :class:`DefaultTrainer`.

    Raises:
        ConfigError: there is no such class, or it is not a subclass of :class:`DefaultTrainer`.
    """
    name = cfg.get("trainer")
    if name is None:
        return DefaultTrainer
    if not isinstance(name, str):
        raise ConfigError(f"trainer: give the dotted name of a subclass of DefaultTrainer, not {name!r}")
    try:
        found = find(name, check_import)  # the check below allows less than `locate`, and says it better
    except ConfigError as error:
        raise ConfigError(f"trainer: {error}") from None
    if not (isinstance(found, type) and issubclass(found, DefaultTrainer)):
        raise ConfigError(f"trainer: {name} is not a subclass of dmaelab.engine.DefaultTrainer")
    return found


def run_training(cfg: DictConfig, resume: bool = False, allow_changes: bool = False) -> dict[str, float]:
    """Train as the config says, in the run directory ``train.out_dir``, and return the last evaluation.

    Args:
        cfg: a training config; it is checked and resolved here.
        resume: continue the run in ``train.out_dir`` from its newest checkpoint, if there is one.
        allow_changes: continue it also if settings that could change the weights, or the initial weights, are not those
            that it was begun with; each change is logged. It has no effect without ``resume``.

    Returns:
        Metric name -> value, of the evaluation after the last step.

    Raises:
        UserError: bad input, or the run was begun with other settings; the text is one line.
        MachineError: the machine failed, for example because memory is full.
        Preempted: a signal asked the run to stop. Its state is saved; after a signal in the last step it is finished.
        KeyboardInterrupt: the same after Ctrl-C. After a second one, the steps since the last checkpoint are lost.
    """
    settings = check_training(cfg)
    device = pick_device(settings.device)
    if settings.sync_batchnorm and world_size() > 1 and device.type == "cpu":
        raise ConfigError(
            f"train.sync_batchnorm: {world_size()} processes on the CPU cannot share batch statistics: set it to False,"
            " or train on GPUs"
        )
    resolved = inherit_labels(resolve(cfg, device))
    run = RunDirectory(settings.out_dir)
    if is_main():
        setup_logging()
    if resume:
        run.checkpoints.steps()  # now it knows what is saved
    with _stopped_in_order(run), run.occupied(cfg, resume, allow_changes) if is_main() else nullcontext():
        if is_main():
            setup_logging(run.path)
        barrier()
        trainer = trainer_of(resolved)(resolved, resume)
        run.checkpoints = trainer.run.checkpoints  # they know what is saved
        if is_main():
            run.freeze(resolved, resume, trainer.max_iter, trainer.step, trainer.started_from)
        trainer.train()
        result = trainer.last_metrics()
    logger.info("finished %s: %s", run, "  ".join(f"{name} {value:.4g}" for name, value in result.items()))
    preemption = trainer.find_hook(PreemptionHook)
    if preemption is not None and preemption.signalled:
        who = "Ctrl-C" if preemption.by_ctrl_c else "a signal"
        raise stop_error(preemption.by_ctrl_c, f"{run} is finished; {who} asked to stop, so nothing else is started")
    return result


@contextmanager
def _stopped_in_order(run: RunDirectory) -> Iterator[None]:
    """Stop a training at a signal that arrives before or after the steps, and say what is saved.

    If another process of the group stops first, the error of the broken connection is not the reason to report.
    """

    def message() -> str:
        return f"stopped by a signal; {run.checkpoints.saved()}: {CONTINUE}"

    with preempted_by_signals(message):
        try:
            yield
        except RuntimeError as error:
            other = isinstance(error, MachineError) and not str(error).startswith(GROUP_BROKE)
            if world_size() == 1 or not WATCHDOG.signalled or other:
                raise
            text = interrupted(message()) if WATCHDOG.by_ctrl_c else message()
            raise stop_error(WATCHDOG.by_ctrl_c, text) from error


def run_evaluation(cfg: DictConfig, weights: str = "final") -> dict[str, float]:
    """Evaluate the model of the run in ``train.out_dir`` on ``data.test``, and log and return the metrics.

    Nothing is written.

    Args:
        cfg: a training config.
        weights: ``"final"``, ``"best"``, or a checkpoint.

    Raises:
        UserError: bad input, or ``data.test`` has other classes than the run.
    """
    setup_logging()
    device = pick_device(check_training(cfg).device)
    settings = TrainSettings.of(resolve(cfg, device))
    run, dataset = RunDirectory(settings.out_dir), instantiate(cfg.data.test)
    model = run.model(weights, device)
    trained = ClassList.of_model(f"the classifier of {run}", model.export())
    if trained is not None:  # an autoencoder has no classes
        compare_classes([trained, ClassList.of_dataset("data.test", dataset)], "train", settings.ignore_class_names)
    result = evaluate(model, dataset, settings, device)
    for name, value in result.items():
        logger.info("%s %.5g", name, value)
    return result
