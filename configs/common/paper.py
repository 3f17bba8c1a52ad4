"""Stages that the pipelines of the paper's tables share.

The same stage has the same name in every pipeline, so that a model that is trained for one table is reused by others.
"""

SIGMAS = (0.25, 0.5, 1.0)

_PRETRAININGS = {"dmae_base": "pretrain_base", "dmae_large": "pretrain_large", "mae_base": "pretrain_mae_base"}

# A stage can be replaced by a bare file, which does not say how it was pre-trained. So the configs say it.
_LABELS = {
    "dmae_base": ["labels.pretrain=DMAE", "labels.epochs=1100"],
    "dmae_base:epoch_700": ["labels.pretrain=DMAE", "labels.epochs=700"],
    "dmae_base_cifar10": ["labels.pretrain=DMAE", "labels.epochs=1100", "labels.continued=true"],
    "dmae_large": ["labels.pretrain=DMAE", "labels.epochs=1600"],
    "mae_base": ["labels.pretrain=MAE", "labels.epochs=1600"],
}


def pipeline(table, title, weights, radii):
    """The section `pipeline`. A stage of `weights` can be replaced by pipeline.weights.STAGE=FILE."""
    return dict(
        out_dir="runs/paper",
        report=table,
        title=title,
        radii=radii,
        weights=dict.fromkeys(weights),
        seeds=1,
        processes="auto",
    )


def pretraining(name):
    return dict(name=name, config=f"imagenet/{_PRETRAININGS[name]}", once=True)


def continued():
    """Continued pre-training on CIFAR-10."""
    overrides = _LABELS["dmae_base"]
    return dict(
        name="dmae_base_cifar10", config="cifar10_224/pretrain", init_from="dmae_base", overrides=overrides, once=True
    )


def imagenet(config, init_from, sigma):
    """Train with an ImageNet config from earlier weights at one sigma, and certify."""
    kind = "probe" if config.startswith("probe") else config.rpartition("_")[2]
    training = _training(f"{kind}_{init_from.replace(':', '_')}_{sigma}", f"imagenet/{config}", init_from, sigma)
    return [training, _certification(training, "imagenet")]


def cifar10_trained(init_from, sigma):
    """Fine-tune with CR on CIFAR-10 at one sigma, or on a range."""
    name = f"cifar10_cr_{init_from}_{sigma if isinstance(sigma, float) else 'multi'}"
    return _training(name, "cifar10_224/finetune_cr", init_from, sigma)


def cifar10(init_from, sigma):
    """As :func:`cifar10_trained`, and certify all test images."""
    training = cifar10_trained(init_from, sigma)
    return [training, _certification(training, "cifar10")]


def evaluated(training, sigma):
    """Certify a model at one sigma as Table 10 does."""
    return dict(
        name=f"certify_{training['name']}_at_{sigma}",
        config="certify/cifar10_1000",
        certify=training["name"],
        label=f"{training['name']} at {sigma}",
        overrides=[f"corruption.sigma={sigma}"],
    )


def _training(name, config, init_from, sigma):
    return dict(
        name=name,
        config=config,
        init_from=init_from,
        overrides=[f"model.corruption.sigma={sigma}", *_LABELS[init_from]],
    )


def _certification(training, config):
    return dict(
        name=f"certify_{training['name']}", config=f"certify/{config}", certify=training["name"], label=training["name"]
    )
