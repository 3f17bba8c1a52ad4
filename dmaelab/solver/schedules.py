"""Learning rates: the linear scaling rule for the peak, and the warmup-cosine schedule."""

from fvcore.common.param_scheduler import (
    CompositeParamScheduler,
    CosineParamScheduler,
    LinearParamScheduler,
    ParamScheduler,
)

from dmaelab.utils.errors import ConfigError


def scaled_lr(base_lr: float, batch_size: int) -> float:
    """Return ``base_lr * batch_size / 256``, the linear scaling rule (Goyal et al., 2017).

    MAE and DMAE give their learning rates as ``base_lr``. ``batch_size`` is the number of images of one optimizer step,
    over all processes and micro-batches; noisy copies of an image are not counted. In a config::

        optimizer.lr = L(scaled_lr)(base_lr=1.5e-4, batch_size="${train.batch_size}")

    Raises:
        ConfigError: ``base_lr`` or ``batch_size`` is not positive.
    """
    if not (base_lr > 0 and batch_size > 0):
        raise ConfigError(f"scaled_lr: base_lr {base_lr} and batch_size {batch_size} must both be more than 0")
    return base_lr * batch_size / 256


def warmup_cosine(warmup: float = 0.05, final: float = 0.0) -> ParamScheduler:
    """Return the schedule of MAE and DMAE: a linear rise from 0 to 1, then half a cosine down to ``final``.

    The scheduler is called with ``where = step / max_iter`` in [0, 1) and returns the multiplier of the learning rate.

    Args:
        warmup: fraction of the training for the rise, in [0, 1).
        final: multiplier at the end.

    Raises:
        ConfigError: ``warmup`` is outside [0, 1).
    """
    if not 0 <= warmup < 1:
        raise ConfigError(f"schedule.warmup is {warmup}: give a fraction of the training, in [0, 1)")
    cosine = CosineParamScheduler(1.0, final)
    if warmup == 0:
        return cosine
    return CompositeParamScheduler(
        [LinearParamScheduler(0.0, 1.0), cosine],
        lengths=[warmup, 1 - warmup],
        interval_scaling=["rescaled", "rescaled"],
    )


def warmup_cosine_epochs(warmup_epochs: float, epochs: float, final: float = 0.0) -> ParamScheduler:
    """Return :func:`warmup_cosine` with the warmup given in epochs, as in the recipes of MAE and DMAE.

    Args:
        warmup_epochs: number of epochs of the rise, less than ``epochs``.
        epochs: number of epochs of the whole training.
        final: multiplier at the end, which is ``min_lr / lr`` of a recipe.

    Raises:
        ConfigError: unless ``0 <= warmup_epochs < epochs``.
    """
    if not 0 <= warmup_epochs < epochs:
        raise ConfigError(
            f"schedule.warmup_epochs is {warmup_epochs} of {epochs} epochs: give a number in [0, {epochs})"
        )
    return warmup_cosine(warmup_epochs / epochs, final)
