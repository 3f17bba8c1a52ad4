"""Certification of the fine-tuned model by CERTIFY, on test images of the project's data set.

    python tools/certify.py projects/timm_demo/configs/certify.py

After finetune.py has run.
"""

from dmaelab.config import LazyCall as L
from dmaelab.config import get_config
from dmaelab.data import build_dataset

_base = get_config("certify/default")
certify, certifier, corruption = _base.certify, _base.certifier, _base.corruption

plugins = ["projects.timm_demo"]
dataset = L(build_dataset)(name="shapes", split="test", image_size=24)
certify.update(run="runs/timm/rs", subset={"count": 50})
