"""Certification of an ImageNet run as in the paper: every 50th validation image, n = 10,000.

    python tools/certify.py certify/imagenet certify.run=runs/imagenet/base_cr_0.5 --processes auto

This is the setting of Tables 1, 2, 4, 5, 6 and 9. The 50,000 images are sorted by class, 50 of each class, so these
1,000 images are the first ones of every class. The paper calls them uniformly selected. For a random selection add
'certify.subset={"random": 1000, "seed": 0}', or, with one image of each class,
'certify.subset={"stratified": 1000, "seed": 0}'. (Quote them in the shell.)

The official code certifies in fp16, as here. It also skips the remaining samples of an image if the selected class is
wrong, which does not change the certified accuracy; certifier.skip_wrong=true does the same.
"""

from ..common.debug import CERTIFY as debug
from .default import certifier, certify, corruption

certify.update(name="imagenet", subset={"stride": 50}, precision="fp16", batch_size=1000)
