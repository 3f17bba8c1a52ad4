import pytest
import torch
from torch import nn

from dmaelab.certifiers import Cohen
from dmaelab.corruptions import Gaussian
from dmaelab.smoothing import Smoothing, certify_images, weights_hash
from dmaelab.smoothing.arithmetic import Arithmetic, fixed_kernels
from dmaelab.utils.errors import UserError

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )


@pytest.mark.parametrize("device", [CPU, CUDA])
def test_the_rule_of_the_device_fills_in_what_is_left_open(device):
    rule = Arithmetic().resolved(device)
    assert None not in (rule.channels_last, rule.compile, rule.cuda_graph)
    assert Arithmetic("bf16", channels_last=True, compile="blocks").resolved(device) == Arithmetic(
        "bf16", True, "blocks", rule.cuda_graph
    )


def test_unknown_precision_is_one_line():
    with pytest.raises(UserError, match=r"unknown precision 'fp61' .did you mean 'fp16'.*: one of fp32, bf16, fp16"):
        Arithmetic("fp61")


def test_what_cannot_be_evaluated_so_is_one_line():
    with pytest.raises(UserError, match=r"compile is 'block': choose True, False or 'blocks'"):
        Arithmetic(compile="block")
    with pytest.raises(
        UserError, match=r"cuda_graph is True and the device is 'cpu': a CUDA graph needs a CUDA device"
    ):
        Arithmetic(cuda_graph=True).resolved(CPU)
    with pytest.raises(UserError, match=r"Sequential has no repeated blocks to compile: set compile=True"):
        Arithmetic(compile="blocks").prepare(network())


def test_a_log_without_a_cuda_graph_keeps_the_identity_that_it_had_before_there_were_any():
    plain = Arithmetic("fp16").resolved(CUDA)
    assert plain.identity() == {"precision": "fp16", "channels_last": False, "compile": False}
    assert Arithmetic("fp16", cuda_graph=True).resolved(CUDA).identity() == {**plain.identity(), "cuda_graph": True}


def test_channels_last_changes_strides_and_neither_values_nor_weights():
    model, images = network(), torch.rand(2, 3, 8, 8)
    before, hashed = model(images), weights_hash(model)
    arithmetic = Arithmetic(channels_last=True, compile=False)
    prepared = arithmetic.prepare(model.train())
    assert not prepared.training
    assert prepared[0].weight.is_contiguous(memory_format=torch.channels_last)
    buffer = arithmetic.images(2, (3, 8, 8), CPU)
    assert buffer.is_contiguous(memory_format=torch.channels_last)
    buffer[:] = images
    torch.testing.assert_close(prepared(buffer), before)
    assert weights_hash(prepared) == hashed


def test_a_module_that_its_owner_compiled_is_recorded_as_compiled():
    assert Smoothing(torch.compile(network()), Gaussian(0.25), 3).arithmetic.compile is True
    assert Smoothing(network(), Gaussian(0.25), 3).arithmetic.compile is False


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_a_compiled_module_certifies_and_says_so(tmp_path):
    from dmaelab.records.folders import read_header

    rows = {}
    for name, compiled in (("eager", False), ("compiled", True)):
        rows[name] = certify_images(
            Smoothing(network(), Gaussian(0.25), 3, arithmetic=Arithmetic(compile=compiled), batch_size=64),
            lambda index: (torch.full((3, 8, 8), index / 4), 0), range(3), Cohen(20, 200, 0.001),
            out=tmp_path / name, progress=False,
        )  # fmt: skip
        assert read_header(tmp_path / name)["identity"]["compile"] is compiled
    for eager, compiled in zip(rows["eager"], rows["compiled"], strict=True):
        assert eager["top"] == compiled["top"]
        assert abs(eager["count_a"] - compiled["count_a"]) <= 2  # another kernel may round a near tie differently


def test_kernels_are_put_back_after_an_exception():
    def fails():
        with fixed_kernels(CPU):
            assert torch.get_float32_matmul_precision() == "highest"
            raise RuntimeError("stop")

    torch.set_float32_matmul_precision("high")
    try:
        with pytest.raises(RuntimeError, match="stop"):
            fails()
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")
