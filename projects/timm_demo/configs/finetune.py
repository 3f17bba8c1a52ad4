"""RS fine-tuning of timm's ViT on shapes of 24x24 pixels: positions of 4x4 patches are interpolated to 6x6.

    python tools/train_net.py --config-file projects/timm_demo/configs/finetune.py

After pretrain.py has run.
"""

from dmaelab.config import get_config

from .pretrain import data, plugins  # noqa: F401 - sections of this config too
from .pretrain import model as _pretrain

_base = get_config("digits/finetune_rs")
model, optimizer, schedule, train = (_base[name] for name in ("model", "optimizer", "schedule", "train"))

model.classifier.backbone = _pretrain.encoder
model.classifier.backbone.update(image_size=24, pool="gap")
model.classifier.update(num_classes=4, pixel_mean=_pretrain.pixel_mean, pixel_std=_pretrain.pixel_std)
for _split in ("train", "test"):
    data[_split].image_size = 24
trainer = "projects.timm_demo.trainer.FixedPatches"
optimizer.no_decay = ["pos_embed", "cls_token", "reg_token"]
train.update(out_dir="runs/timm/rs", init_from="runs/timm/pretrain")
