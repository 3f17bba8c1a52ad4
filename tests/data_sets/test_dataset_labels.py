"""Labels that name no class are refused, with the image: where a data set is built, and where it is read."""

import numpy as np
import pytest
import torch

from dmaelab.data import Dataset, build_test_loader, build_train_loader
from dmaelab.utils.class_labels import class_label
from dmaelab.utils.errors import UserError

CLASSES = ("a", "b", "c")


@pytest.mark.parametrize(
    "targets",
    [
        [0, 1, 2],
        (0, 1, 2),
        [0.0, 1.0, 2.0],
        np.array([0, 1, 2], dtype=np.uint8),
        np.array([0, 1, 2], dtype=np.uint16),
        np.array([0.0, 1.0, 2.0]),
        torch.tensor([0, 1, 2], dtype=torch.int32),
        torch.tensor([0.0, 1.0, 2.0], dtype=torch.float16),
        [False, True, 2],
        [-1, 1, 2],
        [-1, -1, -1],
    ],
    ids=repr,
)
def test_labels_that_are_accepted(targets):
    dataset = Dataset(targets, CLASSES)
    assert dataset.targets.dtype == torch.int64
    assert dataset.targets.tolist() == [int(label) for label in targets]


def test_labels_of_int64_are_not_copied():
    targets = torch.tensor([0, 1, 2])
    assert Dataset(targets, CLASSES).targets.data_ptr() == targets.data_ptr()


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        ([0, 3, 1], "image 1 has the label 3, but there are 3 classes: labels are whole numbers from 0 to 2"),
        ([0, 1, -2], "image 2 has the label -2"),
        ([0, 1, 0.7], "image 2 has the label 0.7"),
        (torch.tensor([0.0, float("nan"), 1.0]), "image 1 has the label nan"),
        (torch.tensor([float("inf")]), "image 0 has the label inf"),
        ([255, 0, 1], "image 0 has the label 255"),
        (np.array([0, 1, 7], dtype=np.uint16), "image 2 has the label 7"),
        (["a", "b", "c"], "the labels of a data set are whole numbers"),
        (np.array(["a", "b"]), "the labels of a data set are whole numbers"),
        ([0, None, 1], "the labels of a data set are whole numbers"),
        ([0, [1], 2], "the labels of a data set are whole numbers"),
        ([2**70], "the labels of a data set are whole numbers"),
        (torch.eye(3), r"torch.float32 \[3, 3\]: give whole numbers \[N\], one for each image"),
        (torch.tensor(1), r"torch.int64 \[\]: give whole numbers"),
        (torch.ones(2, dtype=torch.complex64), r"torch.complex64 \[2\]: give whole numbers"),
    ],
    ids=repr,
)
def test_labels_that_are_refused(targets, words):
    with pytest.raises(UserError, match=words) as caught:
        Dataset(targets, CLASSES)
    assert "\n" not in str(caught.value)


def test_each_image_has_one_label():
    with pytest.raises(UserError, match="got 3 images and 2 labels"):
        Dataset([0, 1], CLASSES, torch.zeros(3, 1, 2, 2, dtype=torch.uint8))


class Reads(Dataset):
    """Four images from disk; ``load`` returns the labels that it is given."""

    def __init__(self, returned, targets=(0, 1, 2, 0)):
        super().__init__(targets, CLASSES)
        self.returned = returned

    def load(self, index):
        return torch.full((1, 2, 2), index, dtype=torch.uint8), self.returned[index]


READ = [
    ([0, 1, 3, 0], "Reads: image 2 has the label 3, but there are 3 classes"),
    ([0, 1, 2, 1], r"Reads: load\(3\) returns the label 1, but targets\[3\] is 0"),
    ([0, 1, -1, 0], "Reads: image 2 has the label -1, which means that its class is not known"),
    ([0, 0.7, 2, 0], "Reads: image 1 has the label 0.7: labels are whole numbers from 0 to 2"),
    ([0, "b", 2, 0], "Reads: image 1 has the label 'b'"),
    ([0, None, 2, 0], "Reads: image 1 has the label None"),
    ([0, torch.eye(3)[1], 2, 0], r"Reads: image 1 has the label tensor\(\[0., 1., 0.\]\)"),
    ([0, torch.tensor(9), 2, 0], "Reads: image 1 has the label 9"),
]


@pytest.mark.parametrize(("returned", "words"), READ)
def test_a_label_that_load_returns_is_checked(returned, words):
    dataset = Reads(returned)
    for read in (
        lambda: [dataset[index] for index in range(4)],
        lambda: list(build_test_loader(dataset, range(4), 2)),
        lambda: next(iter(build_train_loader(dataset, 4, seed=0))),
        lambda: next(iter(build_train_loader(dataset, 4, seed=0, transform=[torch.nn.Identity()]))),
    ):
        with pytest.raises(UserError, match=words) as caught:
            read()
        assert "\n" not in str(caught.value)


def test_workers_tell_it_too():
    with pytest.raises(UserError, match="Reads: image 2 has the label 3"):
        list(build_test_loader(Reads([0, 1, 3, 0]), range(4), 2, num_workers=2))


@pytest.mark.parametrize("returned", [[0, 1, 2, 0], [0.0, np.int64(1), torch.tensor(2), np.uint8(0)]])
def test_whole_numbers_of_any_type_become_ints(returned):
    labels = [Reads(returned)[index][1] for index in range(4)]
    assert labels == [0, 1, 2, 0]
    assert {type(label) for label in labels} == {int}


def test_images_without_labels_can_be_read():
    dataset = Reads([-1, 1, 2, -1], targets=[-1, 1, 2, -1])
    (samples,) = build_test_loader(dataset, range(4), 4)
    assert samples.targets.tolist() == [-1, 1, 2, -1]


def test_a_data_set_that_replaces_images_may_return_their_labels():
    dataset = Reads([1, 1, 2, 0])
    dataset.replaces_images = True
    assert dataset[0][1] == 1
    dataset.returned[0] = 3
    with pytest.raises(UserError, match="image 0 has the label 3"):
        dataset[0]


@pytest.mark.parametrize("value", [True, 1, 1.0, np.float32(1), torch.tensor([1])], ids=repr)
def test_class_label(value):
    assert class_label(value, 2, "image 5") == 1


@pytest.mark.parametrize(
    "value", [2, -1, -2, 0.5, float("nan"), float("inf"), "1", None, [0], torch.zeros(2)], ids=repr
)
def test_what_is_no_class_label(value):
    with pytest.raises(UserError, match=r"^image 5 has the label ") as caught:
        class_label(value, 2, "image 5")
    assert "\n" not in str(caught.value)
