"""RS fine-tuning on digits: cross-entropy on noisy images, from the pre-trained encoder.

    python tools/train_net.py --config-file configs/digits/finetune_rs.py

Run digits/pretrain first. To train from scratch, add train.init_from=None.
"""

from dmaelab.config import LazyCall as L
from dmaelab.corruptions import build_corruption
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
optimizer.update(lr=2e-3, betas=(0.9, 0.999), no_decay=["pos_embed", "cls_token"])
train.update(
    out_dir="runs/digits/rs",
    init_from="runs/digits/pretrain",
    max_iter=400,
    batch_size=128,
    eval_period=100,
)
