"""RS fine-tuning of ViT-L on ImageNet: cross-entropy on noisy images, Table 6 of the paper.

    torchrun --nproc-per-node 8 tools/train_net.py --config-file configs/imagenet/finetune_large_rs.py \\
        model.corruption.sigma=0.5
    python tools/train_net.py --config-file imagenet/finetune_large_rs --debug        # a trial without data

Certified accuracy (%) of the paper (Table 6; 1,000 images, n = 10,000) at radius 0, 0.5, 1, 1.5, 2, 3:
    sigma 0.25   81.8 72.6
    sigma 0.5    76.4 69.5 59.3 45.8
    sigma 1.0    63.2 57.0 49.8 42.9 35.9 21.8
"""

from dmaelab.config import LazyCall as L
from dmaelab.losses import build_loss

from .finetune_large_cr import data, debug, labels, model, optimizer, schedule, train

model.loss = L(build_loss)(name="rs", label_smoothing=0.1)
train.update(out_dir="runs/imagenet/large_rs_${model.corruption.sigma}")
labels.update(method="RS")
