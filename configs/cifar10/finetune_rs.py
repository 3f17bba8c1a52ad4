"""RS fine-tuning on CIFAR-10 at 32x32: cross-entropy on noisy images, from the pre-trained encoder.

    python tools/train_net.py --config-file configs/cifar10/finetune_rs.py

Run cifar10/pretrain first. To train from scratch, add train.init_from=None.
"""

from dmaelab.config import LazyCall as L
from dmaelab.corruptions import build_corruption
from dmaelab.data.transforms import HorizontalFlip, RandomCrop
from dmaelab.losses import build_loss
from dmaelab.modeling import Classifier, NoisyClassifier

from ..common.train import optimizer, schedule, train
from .pretrain import data
from .pretrain import model as _pretrain

_backbone = _pretrain.encoder
_backbone.pool = "gap"

model = L(NoisyClassifier)(
    classifier=L(Classifier)(
        backbone=_backbone, num_classes=10, pixel_mean=_pretrain.pixel_mean, pixel_std=_pretrain.pixel_std
    ),
    corruption=L(build_corruption)(name="gaussian", sigma=0.25),
    loss=L(build_loss)(name="rs"),
)
data.augment = [L(HorizontalFlip)(), L(RandomCrop)(padding=4)]
optimizer.update(lr=1e-3, betas=(0.9, 0.999), no_decay=["pos_embed", "cls_token"])
train.update(
    out_dir="runs/cifar10/rs",
    init_from="runs/cifar10/pretrain",
    max_iter=2500,
    batch_size=128,
    log_period=100,
    eval_period=0,
    eval_images=1000,
    checkpoint_period=500,
)
labels = dict(
    method="RS",
    backbone="ViT 128x4",
    extra_data=False,
    dataset="CIFAR-10",
    sigma="${model.corruption.sigma}",
    seed="${train.seed}",
)
