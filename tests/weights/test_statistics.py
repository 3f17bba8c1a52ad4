"""Pixel statistics, which only files of this project store."""

from weights_toolbox import OWN, TINY, classifier, refused

from dmaelab.weights import load_classifier, save_weights
from dmaelab.weights.statistics import PIXEL_STATISTICS


def test_statistics_are_an_explicit_choice():
    message = refused(load_classifier, TINY / "classifier_gap.pth", num_heads=3)
    assert message.endswith('pass pixel_mean="imagenet" or "cifar10", or numbers for pixel_mean and pixel_std')
    for mean, std, wrong in [
        ("cifar", None, "pixel_mean is 'cifar'"),
        ("cifar10", [0.2] * 3, "pixel_mean is 'cifar10'"),
        ([0.5] * 3, None, "come together"),
        (None, [0.5] * 3, "come together"),
        ([0.5], [0.5], "are not 3 numbers each"),
        (0.5, 0.5, "are not 3 numbers each"),
        ([123.7, 116.3, 103.5], [58.4, 57.1, 57.4], "in [0,1] pixel units"),
        (PIXEL_STATISTICS["imagenet"][0], [58.4, 57.1, 57.4], "0 < pixel_std <= 1"),
        ([0.5] * 3, [0.0] * 3, "0 < pixel_std <= 1"),
        ([float("nan")] * 3, [0.5] * 3, "in [0,1] pixel units"),
    ]:
        assert wrong in refused(
            load_classifier, TINY / "classifier_gap.pth", num_heads=3, pixel_mean=mean, pixel_std=std
        )


def test_statistics_that_the_file_stores_otherwise_are_refused(tmp_path):
    for layout in ("dmaelab", "official"):
        save_weights(classifier(), tmp_path / "x.pth", layout)
        message = refused(load_classifier, tmp_path / "x.pth", pixel_mean="imagenet")
        assert (
            "stores pixel_mean [0.4, 0.5, 0.6], but [0.485, 0.456, 0.406] is given: leave it out (to change it on"
            " purpose," in message
        )
        wrong = {"pixel_mean": OWN[0], "pixel_std": [0.2, 0.25, 0.3002]}
        assert "stores pixel_std [0.2, 0.25, 0.3], but" in refused(load_classifier, tmp_path / "x.pth", **wrong)
        load_classifier(tmp_path / "x.pth", pixel_mean=OWN[0], pixel_std=OWN[1])
