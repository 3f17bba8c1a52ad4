"""RS fine-tuning of ViT-B on CIFAR-10: cross-entropy on noisy images. The paper has no such row.

    python tools/train_net.py --config-file configs/cifar10_224/finetune_rs.py model.corruption.sigma=0.5
    python tools/train_net.py --config-file cifar10_224/finetune_rs --debug        # a trial without data

This is a baseline for cifar10_224/finetune_cr; all settings except the loss are the same.
"""

from dmaelab.config import LazyCall as L
from dmaelab.losses import build_loss

from .finetune_cr import data, debug, labels, model, optimizer, schedule, train

model.loss = L(build_loss)(name="rs", label_smoothing=0.1)
train.update(out_dir="runs/cifar10_224/rs_${model.corruption.sigma}")
labels.update(method="RS")
