"""RS fine-tuning with Gaussian noise, from the encoder that was pre-trained with speckle.

    python tools/train_net.py --config-file projects/speckle_demo/configs/finetune.py

Run pretrain.py first.
"""

from dmaelab.config import get_config

_base = get_config("digits/finetune_rs")
model, data, optimizer, schedule, train = (_base[name] for name in ("model", "data", "optimizer", "schedule", "train"))

plugins = ["projects.speckle_demo"]
train.update(out_dir="runs/speckle/rs", init_from="runs/speckle/pretrain")
