"""CR fine-tuning on CIFAR-10 at 32x32: consistency between two noisy copies (Eq. 8), from the pre-trained encoder.

    python tools/train_net.py --config-file configs/cifar10/finetune_cr.py

Run cifar10/pretrain first. To train from scratch, add train.init_from=None.
"""

from dmaelab.config import LazyCall as L
from dmaelab.losses import build_loss

from .finetune_rs import data, labels, model, optimizer, schedule, train

model.loss = L(build_loss)(name="cr", lam=2.0, mu=0.5, copies=2)
train.update(out_dir="runs/cifar10/cr", max_iter=1200)
labels.update(method="CR")
