"""Ways to evaluate on a device: compiled blocks and CUDA graphs give the votes of the plain forward."""

import importlib.util
import shutil

import pytest
import torch
from torch import nn

from dmaelab.certifiers import Cohen
from dmaelab.corruptions import Gaussian
from dmaelab.smoothing import Smoothing, certify_images
from dmaelab.smoothing.arithmetic import Arithmetic, fixed_kernels
from dmaelab.smoothing.forward import Forward

NETWORKS = [("vit", "fp32"), ("vit", "fp16"), ("vit", "bf16"), ("resnet_cifar", "bf16")]
BATCH, N = 64, 500
# Votes of 500 that may fall otherwise: with Inductor 0, 0.1 and 1.3 % of the rows did so on a CPU, in both directions.
NEAR_TIES = {"fp32": 2, "fp16": 5, "bf16": 15}


@pytest.fixture
def certify(classifier, pictures, tmp_path):
    """Return a function of a model, a folder and an arithmetic: the rows of images 1 to 4, whose classes are clear."""

    def run(model, out, arithmetic):
        smoothing = Smoothing(model, Gaussian(0.25), 4, arithmetic=arithmetic, batch_size=BATCH)
        certifier = Cohen(100, N, 0.001)
        rows = certify_images(smoothing, pictures, range(1, 5), certifier, out=tmp_path / out, progress=False)
        return [{name: value for name, value in row.items() if name != "time"} for row in rows]

    return run


@pytest.fixture
def compiler(device, monkeypatch):
    """Skips where nothing can be compiled; on a CPU blocks are traced, and run as they are: C++ takes half a minute."""
    torch.compiler.reset()
    if device.type == "cpu":
        whole = nn.Module.compile
        monkeypatch.setattr(nn.Module, "compile", lambda self: whole(self, backend="eager"))
    elif importlib.util.find_spec("triton") is None:
        pytest.skip("triton is not installed")
    elif not (shutil.which("gcc") or shutil.which("cc")):
        pytest.skip("there is no C compiler, which triton needs")


@pytest.mark.gpu
@pytest.mark.parametrize(("backbone", "precision"), NETWORKS)
def test_a_graph_repeats_the_bits_of_the_forward(device, classifier, certify, backbone, precision):
    model = classifier(backbone)
    plain, graph = (Arithmetic(precision, compile=False, cuda_graph=recorded) for recorded in (False, True))
    images, shown = torch.zeros(BATCH, 3, 8, 8, device=device), torch.rand(3, BATCH, 3, 8, 8, device=device)
    with torch.no_grad(), fixed_kernels(device):
        launched, replayed = (Forward(model, images, arithmetic.resolved(device)) for arithmetic in (plain, graph))
        outputs = []
        for batch in shown:
            images.copy_(batch)
            outputs.append(launched().clone())
            assert torch.equal(replayed(), outputs[-1])
        assert not torch.equal(outputs[0], outputs[1])
    assert repr(certify(model, "graph", graph)) == repr(certify(model, "plain", plain))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize(
    ("device", "backbone", "precision"),
    [("cpu", "vit", "bf16"), *(pytest.param("cuda", *network, marks=pytest.mark.gpu) for network in NETWORKS)],
    indirect=["device"],
)
def test_compiled_blocks_give_the_same_votes(device, classifier, certify, compiler, backbone, precision):
    """Without a graph and with one; a compiled block rounds less often, so that a near tie may fall otherwise."""
    expected = certify(classifier(backbone), "plain", Arithmetic(precision, compile=False, cuda_graph=False))
    assert min(row["count_a"] for row in expected) < 0.9 * N  # votes are divided
    compiled = classifier(backbone)
    for recorded in [False, True] if device.type == "cuda" else [False]:
        found = certify(compiled, f"graph {recorded}", Arithmetic(precision, compile="blocks", cuda_graph=recorded))
        for row, own in zip(expected, found, strict=True):
            assert row["top"] == own["top"]
            assert abs(row["count_a"] - own["count_a"]) <= NEAR_TIES[precision]
