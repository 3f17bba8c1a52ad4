"""The overrides of `--debug`: a short trial with a tiny ViT, generated images and two steps, on the CPU."""


def _data(image_size, num_classes=10):
    """Overrides that replace both data sets by generated images; 16 training images are two steps of 8."""
    node = (
        f"'_target_': 'dmaelab.data.build.build_dataset', 'name': 'generated', 'image_size': {image_size},"
        f" 'num_classes': {num_classes}"
    )
    return [
        f"data.{split}={{{node}, 'split': '{split}', 'count': {count}}}"
        for split, count in (("train", 16), ("test", 6))
    ]


def _vit(path, head_width=16):
    return [f"{path}.width={2 * head_width}", f"{path}.depth=2", f"{path}.num_heads=2"]


_TRAIN = [
    "train.epochs=1",
    "train.batch_size=8",
    "train.micro_batch=None",
    "train.num_workers=0",
    "train.precision=fp32",
    "train.device=cpu",
    "train.init_from=None",
    "train.log_period=1",
    "train.eval_period=0",
    "train.eval_batch_size=6",
    "train.checkpoint_period=0",
    "schedule.warmup_epochs=0",
]


def pretrain(image_size):
    return [
        *_TRAIN,
        *_data(image_size),
        *_vit("model.encoder"),
        "model.decoder.width=32",
        "model.decoder.depth=1",
        "model.decoder.num_heads=2",
    ]


def finetune(image_size):
    labels = ["labels.dataset='generated images'", "labels.backbone=tiny", "labels.params=None"]
    return [*_TRAIN, *_data(image_size), *_vit("model.classifier.backbone"), "model.classifier.num_classes=10", *labels]


CERTIFY = [
    "certifier.n=50",
    "certifier.n0=10",
    "certify.batch_size=50",
    "certify.device=cpu",
    "certify.precision=fp32",
    "certify.subset={'count': 4}",
]
