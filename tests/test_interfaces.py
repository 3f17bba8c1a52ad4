"""What data, models and the trainer agree on."""

import pytest

from dmaelab import data
from dmaelab.interfaces import Batch, Trainable
from dmaelab.modeling import DenoisingMAE, NoisyClassifier


def test_one_batch_and_one_kind_of_module():
    assert data.Batch is Batch
    assert issubclass(DenoisingMAE, Trainable)
    assert issubclass(NoisyClassifier, Trainable)


def test_a_trainable_module_must_define_its_methods(batch):
    nothing = type("Nothing", (Trainable,), {})()
    for method, arguments in (
        (nothing.forward, [batch()]),
        (nothing.evaluate, [batch()]),
        (nothing.export, []),
        (nothing.layers, []),
    ):
        with pytest.raises(NotImplementedError, match=f"Nothing must define {method.__name__}"):
            method(*arguments)
