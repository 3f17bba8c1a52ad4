"""Learning rates: the peak by the size of the batch, and its multiplier by the share of the training that is done."""

from fvcore.common.param_scheduler import (
    CompositeParamScheduler,
    CosineParamScheduler,
    LinearParamScheduler,
    ParamScheduler,
)

from dmaelab.utils.errors import ConfigError


def scaled_lr(base_lr: float, batch_size: int) -> float:
    """Return ``base_lr * batch_size / 256``: the linear rule (Goyal et al., 2017), by which MAE and DMAE state their
    rates.

    ``batch_size`` counts the images of one optimizer step, over all processes and micro-batches; noise copies of an
    image do not count. In a config::

        optimizer.lr = L(scaled_lr)(base_lr=1.5e-4, batch_size="${train.batch_size}")

    Raises:
        ConfigError: for a rate or a batch size that is not positive.
    """
    if not (base_lr > 0 and batch_size > 0):
        raise ConfigError(f"scaled_lr: base_lr {base_lr} and batch_size {batch_size} must both be more than 0")
    return base_lr * batch_size / 256


def warmup_cosine(warmup: float = 0.05, final: float = 0.0) -> ParamScheduler:
    """Return a linear rise from 0 to 1, then half a cosine down to ``final``: MAE's and DMAE's schedule.

    Called with ``where = step / max_iter`` in [0, 1).

    Args:
        warmup: share of the training that rises, in [0, 1).
        final: multiplier at the end.
    """
    if not 0 <= warmup < 1:
        raise ConfigError(f"schedule.warmup is {warmup}: give a share of the training, in [0, 1)")
    cosine = CosineParamScheduler(1.0, final)
    if warmup == 0:
        return cosine
    return CompositeParamScheduler(
        [LinearParamScheduler(0.0, 1.0), cosine],
        lengths=[warmup, 1 - warmup],
        interval_scaling=["rescaled", "rescaled"],
    )


def warmup_cosine_epochs(warmup_epochs: float, epochs: float, final: float = 0.0) -> ParamScheduler:
    """Return :func:`warmup_cosine` for a recipe stated in epochs, as MAE's and DMAE's are.

    Args:
        warmup_epochs: epochs that rise, fewer than ``epochs``.
        epochs: length of the whole training.
        final: multiplier at the end: a recipe's ``min_lr / lr``.

    Raises:
        ConfigError: unless ``0 <= warmup_epochs < epochs``.
    """
    if not 0 <= warmup_epochs < epochs:
        raise ConfigError(
            f"schedule.warmup_epochs is {warmup_epochs} of {epochs} epochs: give a number in [0, {epochs})"
        )
    return warmup_cosine(warmup_epochs / epochs, final)
