import pytest
import torch
from torch import nn

from dmaelab.certifiers import ABSTAIN, CERTIFIERS, Certificate, Certifier, Votes
from dmaelab.smoothing import SmoothedClassifier
from dmaelab.utils.errors import UserError


class Halfspace(nn.Module):
    """``w x + b > 0``: its smoothed classifier is itself, at the distance |w x + b| / |w| from the boundary."""

    def __init__(self, weight, bias):
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)

    def margin(self, images):
        return images.flatten(1) @ self.weight + self.bias

    def forward(self, images):
        return torch.stack([-self.margin(images), self.margin(images)], dim=1)


def test_radius_of_a_linear_classifier_is_below_and_close_to_its_distance():
    torch.manual_seed(0)
    sigma = 0.25
    weight = torch.randn(16)
    smoothed_radii = []
    for index, ratio in enumerate([0.5, 1.0, 1.5, 2.0, 2.5, 3.0]):
        image = torch.rand(1, 4, 4)
        bias = ratio * sigma * weight.norm() - image.flatten() @ weight
        smoothed = SmoothedClassifier(Halfspace(weight, bias), 2, sigma)
        prediction, radius = smoothed.certify(image, 100, 100_000, 0.001, 10_000, index=index)
        assert prediction == 1
        assert 0.95 * ratio * sigma <= radius < ratio * sigma
        smoothed_radii.append(radius)
    assert smoothed_radii == sorted(smoothed_radii)


@pytest.fixture
def smoothed(brightness):
    return SmoothedClassifier(brightness, 3, 0.25)


def test_calls_of_the_well_known_class(smoothed, images):
    image, label = images[0]
    prediction, radius = smoothed.certify(image, 20, 300, 0.001, 64)
    assert prediction == label == smoothed.predict(image, 300, 0.001, 64)
    assert 0 < radius < 0.5
    assert isinstance(smoothed.predict(image, 300, 0.001, 64), int)


def test_abstains_with_minus_one(images):
    class Coin(nn.Module):
        def forward(self, images):
            return torch.stack([images[:, 0, 0, 0] - 0.5, 0.5 - images[:, 0, 0, 0]], dim=1)

    smoothed = SmoothedClassifier(Coin(), 2, 0.25)
    image = torch.full((1, 4, 4), 0.5)
    assert SmoothedClassifier.ABSTAIN == ABSTAIN == -1
    assert tuple(smoothed.certify(image, 20, 300, 0.001, 64)) == (-1, 0.0)
    assert smoothed.predict(image, 300, 0.001, 64) == -1


def test_with_index_it_is_that_row_of_the_log(smoothed, images, comparable, tmp_path):
    rows = smoothed.certify_dataset(images, 20, 300, 0.001, 64, out=tmp_path / "log")
    for index in (0, 3, 11):
        certificate = smoothed.certify(images[index][0], 20, 300, 0.001, 64, index=index)
        assert (certificate.prediction, certificate.radius) == (rows[index]["predict"], rows[index]["radius_full"])
        assert (certificate.count_a, certificate.count_b) == (rows[index]["count_a"], rows[index]["count_b"])
    assert (tmp_path / "log" / "shard-000-of-001.tsv").exists()
    assert comparable(smoothed.certify_dataset(images, 20, 300, 0.001, 64)) == comparable(rows)


def test_another_data_set_or_module_is_refused_in_the_same_folder(smoothed, images, tmp_path):
    smoothed.certify_dataset(images, 20, 100, 0.001, 64, out=tmp_path / "log")

    class Inverse:
        def __len__(self):
            return len(images)

        def __getitem__(self, index):
            return 1 - images[index][0], images[index][1]

    class Other(type(smoothed.base_classifier)):
        pass

    with pytest.raises(UserError, match="first_image is"):
        smoothed.certify_dataset(Inverse(), 20, 100, 0.001, 64, out=tmp_path / "log")
    with pytest.raises(UserError, match="network is"):
        SmoothedClassifier(Other(), 3, 0.25).certify_dataset(images, 20, 100, 0.001, 64, out=tmp_path / "log")


def test_certify_dataset_takes_indices_and_shards(smoothed, images, comparable):
    whole = smoothed.certify_dataset(images, 20, 100, 0.001, 64, indices=[1, 4, 7])
    assert [row["idx"] for row in whole] == [1, 4, 7]
    assert comparable(
        smoothed.certify_dataset(images, 20, 100, 0.001, 64, indices=[1, 4, 7], shard=(1, 2))
    ) == comparable(whole[1:2])


def test_calls_without_index_draw_noise_of_their_own(brightness):
    image = torch.full((1, 4, 4), 0.45)
    first, second = SmoothedClassifier(brightness, 3, 0.25), SmoothedClassifier(brightness, 3, 0.25)
    counts = [smoothed.certify(image, 20, 1000, 0.001, 256).count_a for smoothed in (first, first, first)]
    assert len(set(counts)) > 1
    assert second.certify(image, 20, 1000, 0.001, 256).count_a == counts[0]  # the first call of the same seed
    assert SmoothedClassifier(brightness, 3, 0.25, seed=1).certify(image, 20, 1000, 0.001, 256).count_a != counts[0]


def test_a_network_in_training_mode_is_put_to_eval():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Dropout(0.5),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, 10),
    )  # fmt: skip
    image = torch.rand(3, 12, 12)
    smoothed = SmoothedClassifier(network.train(), 10, 0.5)
    first = smoothed.certify(image, 20, 200, 0.001, 100, index=5)
    network.train()  # as after another epoch
    assert smoothed.certify(image, 20, 200, 0.001, 100, index=5) == first
    assert not network.training
    assert network[1].num_batches_tracked == 0


def test_other_noise_and_precision(brightness, images):
    image, label = images[0]
    uniform = SmoothedClassifier(
        brightness, 3, 0.25, corruption={"name": "uniform"}, certifier={"name": "cohen"}, precision="bf16"
    )
    prediction, radius = uniform.certify(image, 20, 300, 0.001, 64)
    assert prediction == label
    assert radius <= 3**0.5 * 0.25


def test_repr_shows_sigma_in_bytes(smoothed):
    assert "sigma=0.25 (= 63.75/255)" in repr(smoothed)


def test_unknown_keywords_are_errors(brightness, smoothed, images):
    with pytest.raises(TypeError, match="confidence"):
        SmoothedClassifier(brightness, 3, 0.25, confidence=0.9)
    with pytest.raises(TypeError, match="batch"):
        smoothed.certify(images[0][0], 20, 300, 0.001, batch=64)
    with pytest.raises(TypeError, match="bogus"):
        SmoothedClassifier(brightness, 3, 0.25, certifier={"name": "cohen", "bogus": 1}).certify(
            images[0][0], 20, 300, 0.001, 64
        )
    with pytest.raises(UserError, match="did you mean 'gaussian'"):
        SmoothedClassifier(brightness, 3, 0.25, corruption="gausian")
    with pytest.raises(UserError, match="has no 'name'"):
        SmoothedClassifier(brightness, 3, 0.25, certifier={"kind": "cohen"})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"base_classifier": lambda images: images}, "torch.nn.Module"),
        ({"num_classes": 1}, "num_classes is 1"),
        ({"sigma": 0.0}, "sigma is 0"),
        ({"sigma": -0.1}, "sigma is -0.1"),
        ({"sigma": (0.1, 0.2)}, "range"),
        ({"precision": "int8"}, "unknown precision"),
    ],
)
def test_bad_options_are_one_line(brightness, changes, words):
    options = {"base_classifier": brightness, "num_classes": 3, "sigma": 0.25} | changes
    with pytest.raises(UserError, match=words) as caught:
        SmoothedClassifier(**options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (torch.full((1, 4, 4), 2.0), "the image has values from 2 to 2"),
        (torch.zeros(1, 1, 4, 4), "without a batch dimension"),
        (torch.zeros(1, 4, 4, dtype=torch.uint8), "divide by 255"),
    ],
)
def test_bad_images_are_one_line(smoothed, image, words):
    for call in (lambda: smoothed.certify(image, 20, 300, 0.001, 64), lambda: smoothed.predict(image, 300, 0.001, 64)):
        with pytest.raises(UserError, match=words):
            call()


def test_wrong_number_of_classes_is_named(brightness, images):
    with pytest.raises(UserError, match="num_classes=10"):
        SmoothedClassifier(brightness, 10, 0.25).certify(images[0][0], 20, 300, 0.001, 64)


def test_a_certifier_that_takes_no_n0_is_called_without(brightness, images):
    @CERTIFIERS.register("no_selection")
    class NoSelection(Certifier):
        def certify(self, case):
            counts = yield Votes("estimation", self.n)
            return Certificate(prediction=int(counts[:-1].argmax()), top=int(counts[:-1].argmax()), n=self.n)

    try:
        smoothed = SmoothedClassifier(brightness, 3, 0.25, certifier="no_selection")
        assert smoothed.certify(images[0][0], 10, 50, 0.001, 16, index=0).n == 50
        assert len(smoothed.certify_dataset(images, 10, 50, 0.001, 16)) == len(images)
    finally:
        del CERTIFIERS._obj_map["no_selection"]


class Labelled(list):
    """A data set that says how many classes it has."""

    def __init__(self, pairs, **facts):
        super().__init__(pairs)
        vars(self).update(facts)


@pytest.mark.parametrize(
    ("label", "words"),
    [
        (3, "image 1 has the label 3, but there are 3 classes: labels go from 0 to 2"),
        (-1, "image 1 has the label -1, which means that its class is not known"),
        (0.7, "image 1 has the label 0.7: labels are whole numbers from 0 to 2"),
        ("b", "image 1 has the label 'b'"),
        (torch.tensor(7), "image 1 has the label 7"),
        (torch.tensor([0.0, 1.0, 0.0]), "image 1 has the label tensor"),
    ],
)
@pytest.mark.parametrize("certifier", ["cohen", "predict"])
def test_a_label_that_names_no_class_names_its_image(brightness, images, tmp_path, certifier, label, words):
    smoothed = SmoothedClassifier(brightness, 3, 0.25, certifier=certifier)
    pairs = [images[0], (images[1][0], label), images[2]]
    with pytest.raises(UserError, match=words) as caught:
        smoothed.certify_dataset(pairs, 20, 100, 0.001, 64, out=tmp_path / "log")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [int, float, torch.tensor])
def test_labels_may_be_whole_numbers_of_any_type(smoothed, images, kind):
    rows = smoothed.certify_dataset([(images[0][0], kind(images[0][1]))], 20, 100, 0.001, 64)
    assert (rows[0]["label"], rows[0]["correct"]) == (images[0][1], 1)


@pytest.mark.parametrize(
    ("facts", "count"),
    [
        ({"num_classes": 4}, 4),
        ({"classes": ["a", "b", "c", "d"]}, 4),
        ({"classes": ["a", "b"]}, None),  # only the classes that are present
        ({"num_classes": 2}, None),
        ({"num_classes": 3, "classes": ["a", "b"]}, None),
        ({"classes": ["a", "b", "c"]}, None),
        ({"classes": ["a", "b"], "target_transform": abs}, None),  # its labels are those of other classes
        ({"classes": 7}, None),
        ({}, None),
    ],
)
def test_a_data_set_that_says_how_many_classes_it_has(smoothed, images, facts, count):
    dataset = Labelled([images[0]], **facts)
    if count is None:
        assert len(smoothed.certify_dataset(dataset, 20, 100, 0.001, 64)) == 1
        return
    with pytest.raises(UserError, match=f"the data set has {count} classes, but num_classes is 3"):
        smoothed.certify_dataset(dataset, 20, 100, 0.001, 64)
