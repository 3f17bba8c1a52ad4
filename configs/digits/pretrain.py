"""DMAE pre-training on scikit-learn's digits at their native size of 8x8.

    python tools/train_net.py --config-file configs/digits/pretrain.py

Evaluation uses the split "val"; "test" is kept for certification.
"""

from dmaelab.config import LazyCall as L
from dmaelab.corruptions import build_corruption
from dmaelab.data import build_dataset
from dmaelab.losses import build_loss
from dmaelab.modeling import DenoisingMAE, MAEDecoder, build_backbone

from ..common.train import optimizer, schedule, train

model = L(DenoisingMAE)(
    encoder=L(build_backbone)(
        name="vit",
        width=64,
        depth=3,
        num_heads=2,
        mlp_ratio=2.0,
        image_size=8,
        patch_size=2,
        in_channels=1,
        pool=None,
        attention="auto",
    ),
    decoder=L(MAEDecoder)(_partial_=True, width=32, depth=1, num_heads=2),
    corruption=L(build_corruption)(name="gaussian", sigma=0.25),
    loss=L(build_loss)(name="mse_all_patches"),
    pixel_mean=[0.306],
    pixel_std=[0.377],
    mask_ratio=0.75,
    norm_pix=False,
)
data = dict(train=L(build_dataset)(name="digits", split="train"), test=L(build_dataset)(name="digits", split="val"))
optimizer.lr = 4e-3
train.update(out_dir="runs/digits/pretrain", max_iter=1400, batch_size=256, eval_period=500)
