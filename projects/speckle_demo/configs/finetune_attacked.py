"""Fine-tuning with the loss of this project, which attacks, and with its hook.

    python tools/train_net.py --config-file projects/speckle_demo/configs/finetune_attacked.py

Run pretrain.py first. A step takes three forward and backward passes instead of one.
"""

from dmaelab.config import LazyCall as L
from dmaelab.config import get_config
from dmaelab.losses import build_loss

_base = get_config("digits/finetune_rs")
model, data, optimizer, schedule, train = (_base[name] for name in ("model", "data", "optimizer", "schedule", "train"))

plugins = ["projects.speckle_demo"]
model.loss = L(build_loss)(name="attacked_rs", radius=0.25, steps=2, samples=2)
hooks = [L("projects.speckle_demo.hook.WeightNorm")(period=50)]
train.update(out_dir="runs/speckle/attacked", init_from="runs/speckle/pretrain")
