"""Contract checks for your own corruptions, losses, certifiers, backbones and data sets: call them in a test.

::

    from dmaelab.testing import check_corruption

    def test_contract():
        check_corruption(build_corruption("speckle", sigma=0.5))

A check tests the properties that the rest of the package relies on. If one does not hold, it raises an
``AssertionError`` with one sentence that says which one, also under ``python -O``. Each check takes about a second at
most. The tests of this project run the same checks on all registered classes.
"""

from dmaelab.testing.backbones import check_backbone
from dmaelab.testing.certifiers import check_certifier, drive
from dmaelab.testing.corruptions import check_corruption
from dmaelab.testing.datasets import check_dataset
from dmaelab.testing.losses import check_loss

__all__ = ["check_backbone", "check_certifier", "check_corruption", "check_dataset", "check_loss", "drive"]
