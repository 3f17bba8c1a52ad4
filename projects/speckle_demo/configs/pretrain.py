"""Pre-training on digits under speckle instead of Gaussian noise.

    python tools/train_net.py --config-file projects/speckle_demo/configs/pretrain.py

From the top of the checkout, where Python finds the plug-in.
"""

from dmaelab.config import get_config

_base = get_config("digits/pretrain")  # the underscore keeps it from being a section itself
model, data, optimizer, schedule, train = (_base[name] for name in ("model", "data", "optimizer", "schedule", "train"))

plugins = ["projects.speckle_demo"]
model.corruption.update(name="speckle", sigma=0.5)
train.out_dir = "runs/speckle/pretrain"
