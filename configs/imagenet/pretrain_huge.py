"""DMAE pre-training of ViT-H (patch size 14) on ImageNet, for 1600 epochs as for ViT-L.

    torchrun --nproc-per-node 8 tools/train_net.py --config-file configs/imagenet/pretrain_huge.py
    python tools/train_net.py --config-file imagenet/pretrain_huge --debug        # a trial without data

The official code has this model, but there are no released weights, and the paper gives no numbers for it.
"""

from .pretrain_large import data, debug, labels, model, optimizer, schedule, train

model.encoder.name = "vit_huge"
train.update(out_dir="runs/imagenet/dmae_huge")
