"""MAE pre-training of ViT-B on ImageNet, the baseline in Tables 4 and 9 of the paper: no noise, loss on masked patches.

    torchrun --nproc-per-node 8 tools/train_net.py --config-file configs/imagenet/pretrain_mae_base.py
    python tools/train_net.py --config-file imagenet/pretrain_mae_base --debug        # a trial without data

The paper does not run this training. It takes the weights that He et al. (2022) released, which were trained in this
way for 1600 epochs. To do the same, skip this stage, and start the next one with
train.init_from=mae_pretrain_vit_base.pth labels.pretrain=MAE labels.epochs=1600.
"""

from dmaelab.config import LazyCall as L
from dmaelab.losses import build_loss

from ..common.debug import pretrain as _debug
from .pretrain_base import data, labels, model, optimizer, schedule, train

model.corruption = None
model.loss = L(build_loss)(name="mse_masked_patches")
train.update(out_dir="runs/imagenet/mae_base", epochs=1600, milestones={})
labels.update(pretrain="MAE")
debug = _debug(224)
