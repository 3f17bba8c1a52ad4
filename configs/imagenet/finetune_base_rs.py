"""RS fine-tuning of ViT-B on ImageNet: cross-entropy on noisy images, Table 9 of the paper.

    torchrun --nproc-per-node 8 tools/train_net.py --config-file configs/imagenet/finetune_base_rs.py \\
        model.corruption.sigma=0.5
    python tools/train_net.py --config-file imagenet/finetune_base_rs --debug        # a trial without data

Certified accuracy (%) of the paper (Table 9; sigma 0.5, 1,000 images, n = 10,000) at radius 0, 0.5, 1, 1.5:
    DMAE-B+RS    72.6 63.0 53.2 39.7
    MAE-B+RS     72.2 61.8 51.5 37.7
"""

from dmaelab.config import LazyCall as L
from dmaelab.losses import build_loss

from .finetune_base_cr import data, debug, labels, model, optimizer, schedule, train

model.loss = L(build_loss)(name="rs", label_smoothing=0.1)
train.update(out_dir="runs/imagenet/base_rs_${model.corruption.sigma}")
labels.update(method="RS")
