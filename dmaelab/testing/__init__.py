"""Contract checks for registered entries and for plug-ins: call them in a test of your own.

::

    from dmaelab.testing import check_corruption

    def test_contract():
        check_corruption(build_corruption("speckle", sigma=0.5))

Each raises ``AssertionError`` with one sentence that says which promise is broken, also under
``python -O``, and takes about a second at most.
"""

from dmaelab.testing.backbones import check_backbone
from dmaelab.testing.certifiers import check_certifier, drive
from dmaelab.testing.corruptions import check_corruption
from dmaelab.testing.datasets import check_dataset
from dmaelab.testing.losses import check_loss

__all__ = ["check_backbone", "check_certifier", "check_corruption", "check_dataset", "check_loss", "drive"]
