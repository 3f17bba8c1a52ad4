"""RS fine-tuning from the encoder that was pre-trained under speckle, with the Gaussian noise that certifies.

    python tools/train_net.py --config-file projects/speckle_demo/configs/finetune.py

After pretrain.py has run.
"""

from dmaelab.config import get_config

_base = get_config("digits/finetune_rs")
model, data, optimizer, schedule, train = (_base[name] for name in ("model", "data", "optimizer", "schedule", "train"))

plugins = ["projects.speckle_demo"]
train.update(out_dir="runs/speckle/rs", init_from="runs/speckle/pretrain")
