"""Certification of an ImageNet run as in Tables 1, 2, 4, 5, 6 and 9 of the paper: every 50th validation image, n =
10,000.

    python tools/certify.py certify/imagenet certify.run=runs/imagenet/base_cr_0.5 --processes auto

The 50,000 images are sorted by class, 50 of each: these 1,000 are the first of every class. The paper calls them
uniformly selected; `certify.subset={"random": 1000, "seed": 0}` and `{"stratified": 1000, "seed": 0}` are. The
reference certified in fp16 and skipped images whose selected class is wrong, which leaves certified accuracy as it is:
certifier.skip_wrong=true.
"""

from ..common.debug import CERTIFY as debug
from .default import certifier, certify, corruption

certify.update(name="imagenet", subset={"stride": 50}, precision="fp16", batch_size=1000)
