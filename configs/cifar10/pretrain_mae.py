"""MAE pre-training on CIFAR-10 at 32x32, the baseline of cifar10/pretrain: no noise, loss on the hidden patches.

    python tools/train_net.py --config-file configs/cifar10/pretrain_mae.py

Number of steps, images and model sizes are those of cifar10/pretrain. pipelines/cifar10_tables compares the two.
"""

from dmaelab.config import LazyCall as L
from dmaelab.losses import build_loss

from .pretrain import data, labels, model, optimizer, schedule, train

model.corruption = None
model.loss = L(build_loss)(name="mse_masked_patches")
train.update(out_dir="runs/cifar10/pretrain_mae")
labels.update(pretrain="MAE")
