"""Pre-training on digits with speckle instead of Gaussian noise.

    python tools/train_net.py --config-file projects/speckle_demo/configs/pretrain.py

Run it from the top of the checkout, so that Python finds the plug-in.
"""

from dmaelab.config import get_config

_base = get_config("digits/pretrain")  # names with an underscore are not sections
model, data, optimizer, schedule, train = (_base[name] for name in ("model", "data", "optimizer", "schedule", "train"))

plugins = ["projects.speckle_demo"]
model.corruption.update(name="speckle", sigma=0.5)
train.out_dir = "runs/speckle/pretrain"
