"""Pre-training of timm's ViT on shapes of 16x16 pixels.

    python tools/train_net.py --config-file projects/timm_demo/configs/pretrain.py

From the top of the checkout, where Python finds the plug-in.
"""

from dmaelab.config import LazyCall as L
from dmaelab.config import get_config
from dmaelab.data import build_dataset
from dmaelab.modeling import build_backbone

_base = get_config("digits/pretrain")  # the underscore keeps it from being a section itself
model, optimizer, schedule, train = (_base[name] for name in ("model", "optimizer", "schedule", "train"))

plugins = ["projects.timm_demo"]
model.encoder = L(build_backbone)(
    name="timm_vit", width=64, depth=3, num_heads=2, image_size=16, patch_size=4, registers=4, pool=None
)
model.update(pixel_mean=[0.29] * 3, pixel_std=[0.25] * 3)
data = dict(train=L(build_dataset)(name="shapes", split="train", image_size=16))
data["test"] = L(build_dataset)(name="shapes", split="val", image_size=16)
train.update(out_dir="runs/timm/pretrain", max_iter=600)
