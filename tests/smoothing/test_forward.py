"""Repeated forwards on a CPU; tests/gpu has those that are replayed from a CUDA graph."""

import torch
from torch import nn

from dmaelab.smoothing.arithmetic import Arithmetic
from dmaelab.smoothing.forward import Forward


def forward(precision="fp32"):
    classifier = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    images = torch.zeros(2, 3, 2, 2)
    arithmetic = Arithmetic(precision).resolved(torch.device("cpu"))
    return classifier, images, Forward(classifier, images, arithmetic)


def test_each_call_reads_the_buffer_again():
    classifier, images, run = forward()
    with torch.no_grad():
        first = run()
        images.fill_(0.5)
        second = run()
        assert torch.equal(second, classifier(images))
    assert not torch.equal(first, second)


def test_the_precision_is_that_of_the_arithmetic():
    with torch.no_grad():
        assert forward("fp32")[2]().dtype == torch.float32
        assert forward("bf16")[2]().dtype == torch.bfloat16
