"""Models into files and back."""

import pytest
import torch
from weights_toolbox import OWN, autoencoder, classifier, refused

from dmaelab.corruptions import Gaussian
from dmaelab.losses import RS
from dmaelab.modeling import CifarResNet, Classifier, NoisyClassifier
from dmaelab.utils.random import Draw
from dmaelab.weights import fill_exact, load_classifier, load_pretrain, read_weights, save_weights
from dmaelab.weights.facts import describe
from dmaelab.weights.files import FACTS
from dmaelab.weights.layouts import official_name


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("layout", ["dmaelab", "official"])
def test_an_autoencoder_comes_back(layout, suffix, tmp_path):
    pytest.importorskip("safetensors")
    model, path = autoencoder(), tmp_path / f"weights{suffix}"
    save_weights(model, path, layout)
    again = load_pretrain(path)
    images = Draw(0, "data").uniform((2, 3, 8, 8))
    first, second = (m.reconstruct(images, noise=0.1 * images) for m in (model, again))
    assert torch.equal(first.pred, second.pred)
    assert (again.mask_ratio, again.norm_pix) == (0.5, False)
    assert torch.equal(again.preprocess.pixel_std, model.preprocess.pixel_std)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("layout", ["dmaelab", "official", "timm"])
@pytest.mark.parametrize(
    ("pool", "head"), [("gap", "linear"), ("cls", "linear"), ("cls", "bn_linear"), ("gap", "bn_linear")]
)
def test_a_classifier_comes_back(pool, head, layout, suffix, tmp_path):
    pytest.importorskip("safetensors")
    model, path = classifier(pool, head), tmp_path / f"weights{suffix}"
    if (layout, head) == ("timm", "bn_linear"):
        assert "timm has no batch norm before the head" in refused(save_weights, model, path, layout)
        assert not path.exists()
        return
    save_weights(model, path, layout)
    again = load_classifier(path)
    images = Draw(0, "data").uniform((3, 3, 8, 8))
    with torch.no_grad():
        assert torch.equal(again(images), model(images))
    assert describe(again) == describe(model)


def test_official_files_of_ours_load_as_official_ones(tmp_path):
    """Bare, as safetensors are, and under "model", as the official code and timm read .pth files."""
    model = classifier()
    save_weights(model, tmp_path / "x.pth", "official")
    content = torch.load(tmp_path / "x.pth", weights_only=True)
    assert sorted(content) == ["dmaelab", "model"]
    assert content["dmaelab"] == {
        "num_heads": 3,
        "pixel_mean": pytest.approx(OWN[0]),
        "pixel_std": pytest.approx(OWN[1]),
    }
    own = {name: value for name, value in model.state_dict().items() if not name.startswith("preprocess.")}
    assert set(content["model"]) == {official_name(name) for name in own}
    assert all(torch.equal(content["model"][official_name(name)], value) for name, value in own.items())
    safetensors = pytest.importorskip("safetensors.torch")
    save_weights(model, tmp_path / "x.safetensors", "official")
    bare = safetensors.load_file(tmp_path / "x.safetensors")
    assert bare.keys() == content["model"].keys()
    assert all(torch.equal(value, content["model"][name]) for name, value in bare.items())


def test_official_autoencoders_of_ours_hold_the_models_own_tensors(tmp_path):
    model = autoencoder()
    save_weights(model, tmp_path / "x.pth", "official")
    written = torch.load(tmp_path / "x.pth", weights_only=True)["model"]
    own = {name: value for name, value in model.state_dict().items() if not name.startswith("preprocess.")}
    assert set(written) == {official_name(name) for name in own}
    assert all(torch.equal(written[official_name(name)], value) for name, value in own.items())


@pytest.mark.parametrize("pool", ["gap", "cls"])
def test_timm_reads_what_is_written_for_it(pool, tmp_path):
    timm = pytest.importorskip("timm")
    model = classifier(pool)
    save_weights(model, tmp_path / "x.pth", "timm")
    theirs = timm.models.VisionTransformer(
        img_size=8,
        patch_size=4,
        embed_dim=24,
        depth=2,
        num_heads=3,
        mlp_ratio=2,
        num_classes=5,
        global_pool={"gap": "avg", "cls": "token"}[pool],
    ).eval()
    timm.models.load_checkpoint(theirs, str(tmp_path / "x.pth"))
    images = Draw(0, "data").uniform((3, 3, 8, 8))
    with torch.no_grad():
        torch.testing.assert_close(theirs(model.preprocess(images)), model(images), atol=1e-5, rtol=0)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_any_model_comes_back_under_our_names(suffix, tmp_path):
    pytest.importorskip("safetensors")
    model, again = (Classifier(CifarResNet(8), 10, *OWN).eval() for _ in range(2))
    save_weights(model, tmp_path / f"x{suffix}")
    fill_exact(again, read_weights(tmp_path / f"x{suffix}").state, "file")
    images = Draw(0, "data").uniform((2, 3, 8, 8))
    with torch.no_grad():
        assert torch.equal(again(images), model(images))


def test_what_cannot_be_written(tmp_path):
    assert "ends in .pth or .safetensors" in refused(save_weights, classifier(), tmp_path / "x.bin")
    resnet = Classifier(CifarResNet(8), 10, *OWN)
    for layout in ("official", "timm"):
        message = refused(save_weights, resnet, tmp_path / "x.pth", layout)
        assert f"layout '{layout}' names only models with a ViT" in message
    assert list(tmp_path.iterdir()) == []


def test_of_a_trainable_module_the_exported_one_is_written(tmp_path):
    model = classifier()
    for number, module in enumerate((model, NoisyClassifier(model, Gaussian(0.25), RS()))):
        save_weights(module, tmp_path / f"{number}.pth")
    files = [torch.load(tmp_path / f"{number}.pth") for number in (0, 1)]
    assert files[0].keys() == files[1].keys()
    assert files[0]["model"].keys() == files[1]["model"].keys()
    assert files[0][FACTS] == files[1][FACTS] != {}


def test_a_wrapper_is_refused(tmp_path):
    for wrapped in (torch.nn.DataParallel(classifier()), torch.compile(classifier())):
        message = refused(save_weights, wrapped, tmp_path / "x.pth")
        assert f"this {type(wrapped).__name__} wraps a model: save the model inside it" in message


def test_a_new_decoder_is_not_written(alone, tmp_path):
    for layout in ("dmaelab", "official", "timm"):
        written = save_weights(alone, tmp_path / f"{layout}.pth", layout)
        assert not [name for name in written if name.startswith(("decoder", "mask_token"))]
    with pytest.warns(UserWarning, match="encoder only"):
        assert describe(load_pretrain(tmp_path / "dmaelab.pth")) == describe(alone)
