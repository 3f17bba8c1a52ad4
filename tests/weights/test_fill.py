"""Weights of an earlier stage into a model of the next."""

import pytest
import torch
from torch import nn

from dmaelab.corruptions import Gaussian
from dmaelab.losses import RS, MSEAllPatches
from dmaelab.modeling import CifarResNet, Classifier, DenoisingMAE, MAEDecoder, NoisyClassifier, PatchEncoder, ViT
from dmaelab.modeling.pos_embed import resize_table
from dmaelab.utils.random import Draw
from dmaelab.weights import WeightsError, fill_exact, fill_pretrained, heads
from dmaelab.weights.facts import facts_of
from dmaelab.weights.files import FACTS
from dmaelab.weights.layouts import rename_to_official, rename_to_timm

OWN = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]


def vit(pool, width=24, depth=1):
    return ViT(width, depth, 3, image_size=8, patch_size=4, pool=pool)


def autoencoder(**options):
    return DenoisingMAE(
        vit(None, **options), lambda e: MAEDecoder(e, 16, 1, 2), Gaussian(0.25), MSEAllPatches(), [0.0] * 3, [1.0] * 3
    )


def noisy_classifier(backbone):
    return NoisyClassifier(Classifier(backbone, 4, *OWN), Gaussian(0.25), RS())


def refused(action, *arguments):
    """Return the one line with which the weights are refused."""
    with pytest.raises(WeightsError) as error:
        action(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture(scope="module")
def pretrained():
    """Weights of an autoencoder none of which has its initial value."""
    state = autoencoder().state_dict()
    return {name: Draw(0, "data", name).normal(value.shape) for name, value in state.items()}


@pytest.mark.parametrize("pool", ["gap", "cls"])
def test_a_classifier_takes_the_encoder(pretrained, pool):
    model = noisy_classifier(vit(pool))
    initial = {name: value.clone() for name, value in model.export().state_dict().items()}
    report = fill_pretrained(model, pretrained)

    trunk = {
        name for name in initial if name.startswith("backbone.") and "norm." not in name.replace("backbone.blocks", "")
    }
    new = {"head.weight", "head.bias"} | (
        {"backbone.fc_norm.weight", "backbone.fc_norm.bias"} if pool == "gap" else set()
    )
    norm = {"backbone.norm.weight", "backbone.norm.bias"}
    decoder = {name for name in pretrained if name.startswith("decoder.")}
    assert set(report.new) == new
    assert set(report.dropped) == decoder | (norm if pool == "gap" else set())
    assert set(report.loaded) == trunk | (norm if pool == "cls" else set())
    assert len(report.loaded) == (16 if pool == "gap" else 18)

    loaded = model.export().state_dict()
    for name in report.loaded:
        assert torch.equal(loaded[name], pretrained[name.replace("backbone.", "encoder.")]), name
    for name in set(loaded) - set(report.loaded):
        assert torch.equal(loaded[name], initial[name]), name


def test_pixel_statistics_stay_those_of_the_config(pretrained):
    model = noisy_classifier(vit("gap"))
    fill_pretrained(model, pretrained)
    torch.testing.assert_close(model.classifier.preprocess.pixel_mean.flatten(), torch.tensor(OWN[0]))
    torch.testing.assert_close(model.classifier.preprocess.pixel_std.flatten(), torch.tensor(OWN[1]))


def test_the_report_is_one_readable_line(pretrained):
    line = str(fill_pretrained(noisy_classifier(vit("gap")), pretrained))
    assert line.startswith("loaded 16 tensors, new 4 (backbone.fc_norm, head.bias, head.weight), dropped 22 (")
    assert line.endswith(", ...)")
    assert str(fill_pretrained(autoencoder(), pretrained)) == "loaded 38 tensors, new 0, dropped 0"


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_classifier_takes_another_classifier(wrapped):
    source, model = noisy_classifier(vit("gap")), noisy_classifier(vit("gap"))
    report = fill_pretrained(model, (source if wrapped else source.export()).state_dict())
    assert not report.new
    assert not report.dropped
    images = Draw(0, "data").uniform((2, 3, 8, 8))
    assert torch.equal(model.export()(images), source.export()(images))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: noisy_classifier(vit("gap", width=48)),
            r"backbone.cls_token is [1, 1, 24] in the file and [1, 1, 48] in the model",
        ),
        (
            lambda: noisy_classifier(vit("gap", depth=2)),
            "backbone.blocks.1.norm1.weight is in the model and not in the file",
        ),
        (lambda: noisy_classifier(CifarResNet(8)), "backbone.conv1.weight is in the model and not in the file"),
        (lambda: autoencoder(width=48), "encoder.cls_token is [1, 1, 24] in the file and [1, 1, 48] in the model"),
        (lambda: autoencoder(depth=2), "encoder.blocks.1.norm1.weight is in the model and not in the file"),
    ],
    ids=["width", "depth", "resnet", "autoencoder-width", "autoencoder-depth"],
)
def test_another_architecture_is_named_and_nothing_is_loaded(pretrained, make, message):
    model = make()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert refused(fill_pretrained, model, pretrained) == f"the dictionary: weights of another architecture: {message}"
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_deeper_file_and_a_classifier_for_an_autoencoder(pretrained):
    deep = autoencoder(depth=2).state_dict()
    assert "backbone.blocks.1.norm1.weight is in the file and not in the model" in refused(
        fill_pretrained, noisy_classifier(vit("gap")), deep
    )
    state = noisy_classifier(vit("gap")).state_dict()
    assert "encoder.cls_token is in the model and not in the file" in refused(fill_pretrained, autoencoder(), state)


def test_other_heads_than_were_published_are_refused(pretrained, monkeypatch):
    """Of the size of ViT-B, 16 instead of 12 would load into every tensor; here a small size stands for it."""
    monkeypatch.setitem(heads._PUBLISHED_HEADS, (24, 1), 4)
    message = refused(fill_pretrained, noisy_classifier(vit("gap")), {"model": rename_to_timm(pretrained)})
    assert message == "the dictionary: trained with num_heads 4, but the model has 3: set num_heads to 4"


def test_other_heads_than_the_file_tells_are_refused(pretrained):
    """No tensor shows them: without the check a model with others loads, and computes something else."""
    model = autoencoder()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for told, wrong in [
        ({"num_heads": 4}, "num_heads 4, but the model has 3"),
        ({"decoder_num_heads": 4}, "decoder_num_heads 4, but"),
    ]:
        assert f"trained with {wrong}" in refused(
            fill_pretrained, model, {"model": pretrained, FACTS: {**facts_of(model), **told}}
        )
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    message = refused(fill_pretrained, noisy_classifier(vit("gap")), {"model": pretrained, FACTS: {"num_heads": 4}})
    assert message == "the dictionary: trained with num_heads 4, but the model has 3: set num_heads to 4"
    fill_pretrained(
        noisy_classifier(vit("gap")), {"model": pretrained, FACTS: {"num_heads": 3, "decoder_num_heads": 4}}
    )
    fill_pretrained(
        autoencoder(), {"model": rename_to_timm(pretrained), FACTS: {"num_heads": 3, "decoder_num_heads": 4}}
    )


def test_a_tensor_beside_a_wrapper_is_named():
    state = {**noisy_classifier(vit("gap")).state_dict(), "teacher.x": torch.ones(1)}
    assert "teacher.x is in the file and not in the model" in refused(
        fill_pretrained, noisy_classifier(vit("gap")), state
    )


def test_other_classes_are_another_architecture():
    state = Classifier(vit("gap"), 7, *OWN).state_dict()
    message = refused(fill_pretrained, noisy_classifier(vit("gap")), state)
    assert "head.weight is [7, 24] in the file and [4, 24] in the model" in message


def test_exact_loading_takes_everything_statistics_included():
    source, model = Classifier(vit("gap"), 4, *OWN), Classifier(vit("gap"), 4, [0.0] * 3, [1.0] * 3)
    fill_exact(model, source.state_dict(), "file")
    assert all(torch.equal(value, source.state_dict()[name]) for name, value in model.state_dict().items())


def test_exact_loading_misses_nothing():
    state = Classifier(vit("gap"), 4, *OWN).state_dict()
    model = Classifier(vit("gap"), 4, [0.0] * 3, [1.0] * 3)
    without = {name: value for name, value in state.items() if name != "preprocess.pixel_std"}
    assert "preprocess.pixel_std is in the model and not in the file" in refused(fill_exact, model, without, "file")
    assert "extra is in the file and not in the model" in refused(
        fill_exact, model, {**state, "extra": torch.zeros(1)}, "file"
    )
    assert "head.bias is [5] in the file and [4] in the model" in refused(
        fill_exact, model, {**state, "head.bias": torch.zeros(5)}, "file"
    )
    assert torch.equal(model.preprocess.pixel_mean.flatten(), torch.zeros(3))


def test_official_names_and_wrappers_are_understood(pretrained):
    official = rename_to_official(pretrained)
    assert "mask_token" in official
    assert "blocks.0.attn.qkv.weight" in official
    expected = str(fill_pretrained(noisy_classifier(vit("gap")), pretrained))
    for state in (official, {f"module.{name}": value for name, value in official.items()}):
        model = noisy_classifier(vit("gap"))
        assert str(fill_pretrained(model, state)) == expected
        assert torch.equal(model.classifier.backbone.cls_token, pretrained["encoder.cls_token"])
        assert str(fill_pretrained(autoencoder(), state)) == "loaded 38 tensors, new 0, dropped 0"


def test_an_encoder_alone_leaves_the_decoder_new(pretrained):
    model = autoencoder()
    initial = {name: value.clone() for name, value in model.decoder.state_dict().items()}
    encoder = rename_to_timm(pretrained)
    report = fill_pretrained(model, encoder)
    assert report.new == [f"decoder.{name}" for name in initial]
    assert torch.equal(model.encoder.norm.weight, pretrained["encoder.norm.weight"])
    assert all(torch.equal(value, initial[name]) for name, value in model.decoder.state_dict().items())
    assert fill_pretrained(noisy_classifier(vit("cls")), encoder).new == ["head.weight", "head.bias"]


def test_half_a_decoder_is_another_architecture(pretrained):
    state = {name: value for name, value in pretrained.items() if name != "decoder.mask_token"}
    assert "decoder.mask_token is in the model and not in the file" in refused(fill_pretrained, autoencoder(), state)


def test_positions_of_another_grid_are_interpolated(pretrained):
    model = noisy_classifier(ViT(24, 1, 3, image_size=16, patch_size=4, pool="gap"))
    report = fill_pretrained(model, pretrained)
    assert str(report).endswith(", interpolated backbone.pos_embed 2x2 -> 4x4")
    table, given = model.classifier.backbone.pos_embed.detach(), pretrained["encoder.pos_embed"]
    assert torch.equal(table[:, 0], given[:, 0])
    patches = given[:, 1:].view(1, 2, 2, 24).permute(0, 3, 1, 2)
    expected = torch.nn.functional.interpolate(patches, size=(4, 4), mode="bicubic", align_corners=False)
    torch.testing.assert_close(table[0, 1:], expected[0].flatten(1).T)
    larger = DenoisingMAE(
        ViT(24, 1, 3, image_size=16, patch_size=4, pool=None),
        lambda e: MAEDecoder(e, 16, 1, 2),
        None,
        MSEAllPatches(),
        [0.0] * 3,
        [1.0] * 3,
    )
    assert fill_pretrained(larger, pretrained).resized == [
        "encoder.pos_embed 2x2 -> 4x4",
        "decoder.pos_embed 2x2 -> 4x4",
    ]


class Nested(PatchEncoder):
    """A network as other libraries have them: nested names, any number of rows for prefix tokens, pooling by a query.

    Only its tensors matter here.
    """

    position_table = "net.positions"
    new_in_classifier = ("net.query",)
    dropped_in_classifier = ("net.final.",)

    def __init__(self, pool, grid, rows, num_heads=3):
        super().__init__()
        self.pool, self.grid, self.num_heads, self.num_features = pool, grid, num_heads, 8
        self.patch_size, self.in_channels, self.mlp_ratio, self.attention = 2, 3, 1.0, "auto"
        self.net = nn.ParameterDict({"positions": Draw(grid, "data").normal((1, rows + grid**2, 8))})
        if pool is None:
            self.net["final"] = nn.Linear(2, 2)
        else:
            self.net["query"] = torch.ones(8)


def nested_autoencoder(*options):
    return DenoisingMAE(
        Nested(None, *options), lambda e: MAEDecoder(e, 16, 1, 2), None, MSEAllPatches(), [0.0] * 3, [1.0] * 3
    )


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_a_backbone_says_what_is_new_and_dropped_and_where_its_positions_are(rows):
    pretrained, model = nested_autoencoder(4, rows), noisy_classifier(Nested("query", 6, rows))
    report = fill_pretrained(model, pretrained.state_dict())
    assert report.loaded == ["backbone.net.positions"]
    assert report.new == ["backbone.net.query", "head.weight", "head.bias"]
    assert {name for name in report.dropped if not name.startswith("decoder.")} == {
        "backbone.net.final.weight",
        "backbone.net.final.bias",
    }
    assert report.resized == ["backbone.net.positions 4x4 -> 6x6"]
    table, before = model.classifier.backbone.net["positions"], pretrained.encoder.net["positions"]
    assert torch.equal(table[:, :rows], before[:, :rows])
    expected = resize_table(torch.cat([torch.zeros(1, 1, 8), before[:, rows:]], dim=1), 6)
    assert torch.equal(table[:, rows:], expected[:, 1:])


@pytest.mark.parametrize("rows", [0, 5])
def test_an_autoencoder_with_other_prefix_tokens_goes_on_at_another_size(rows):
    larger = nested_autoencoder(6, rows)
    assert fill_pretrained(larger, nested_autoencoder(4, rows).state_dict()).resized == [
        "encoder.net.positions 4x4 -> 6x6",
        "decoder.pos_embed 4x4 -> 6x6",
    ]


def test_other_heads_of_a_plug_in_are_refused():
    pretrained = nested_autoencoder(4, 1)
    file = {"model": pretrained.state_dict(), FACTS: facts_of(pretrained)}
    message = refused(fill_pretrained, noisy_classifier(Nested("query", 4, 1, num_heads=4)), file)
    assert message == "the dictionary: trained with num_heads 3, but the model has 4: set num_heads to 3"


def test_what_a_backbone_does_not_name_is_another_architecture():
    model = noisy_classifier(Nested("query", 4, 1))
    model.classifier.backbone.new_in_classifier = ()
    assert "backbone.net.query is in the model and not in the file" in refused(
        fill_pretrained, model, nested_autoencoder(4, 1).state_dict()
    )
    model.classifier.backbone.new_in_classifier = ("net.query",)
    model.classifier.backbone.dropped_in_classifier = ()
    assert "backbone.net.final.weight is in the file and not in the model" in refused(
        fill_pretrained, model, nested_autoencoder(4, 1).state_dict()
    )


def test_a_table_that_is_no_grid_or_of_another_width_is_refused(pretrained):
    for shape in ((1, 4, 24), (1, 17, 32), (17, 24), (1, 1, 24)):
        state = {**pretrained, "encoder.pos_embed": torch.zeros(shape)}
        assert f"backbone.pos_embed is {list(shape)} in the file" in refused(
            fill_pretrained, noisy_classifier(vit("gap")), state
        )


def test_numbers_of_another_kind_are_refused(pretrained):
    state = {**pretrained, "encoder.norm.bias": torch.zeros(24, dtype=torch.int8)}
    assert "encoder.norm.bias has the dtype torch.int8" in refused(fill_pretrained, autoencoder(), state)
