import logging

import numpy as np
import pytest
import torch
from PIL import Image

from dmaelab.data import build_dataset, build_test_loader, build_train_loader
from dmaelab.utils.errors import UserError


def folder(root, **options):
    return build_dataset("image_folder", root=str(root), **options)


def cut(file, share=0.5):
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])


def test_order_labels_and_pixels(image_root):
    pets = folder(image_root)
    assert pets.classes == ["cat", "dog"]
    assert pets.targets.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert [file.removeprefix(f"{image_root}/train/") for file in pets.files][3:5] == ["cat/4.png", "dog/1.png"]
    expected = np.asarray(Image.open(image_root / "train" / "dog" / "2.png"))
    assert torch.equal(pets.load(5)[0], torch.from_numpy(expected.copy()).permute(2, 0, 1))


def test_in_memory_is_the_same(image_root):
    lazy, memory = folder(image_root), folder(image_root, in_memory=True)
    assert memory.image_shape == (3, 12, 10)
    for index in range(7):
        assert torch.equal(lazy.load(index)[0], memory.images[index])
    assert memory.targets.tolist() == lazy.targets.tolist()


def test_in_memory_wants_one_size(image_root, save_image):
    odd = save_image(image_root / "train" / "dog" / "9.png", width=11)
    with pytest.raises(UserError, match=f"{odd} is \\(3, 12, 11\\), .* set image_size"):
        folder(image_root, in_memory=True)
    assert folder(image_root, in_memory=True, image_size=8).images.shape == (8, 3, 8, 8)


def test_classes_given_keep_a_models_labels(image_root):
    pets = folder(image_root, classes=["bird", "dog", "cat"])
    assert pets.targets.tolist() == [1, 1, 1, 2, 2, 2, 2]
    assert pets.num_classes == 3
    with pytest.raises(UserError, match="'dog' is not in classes"):
        folder(image_root, classes=["cat"])
    with pytest.raises(UserError, match="names the folder 'cat' twice"):
        folder(image_root, classes=["cat", "dog", "cat"])


def test_folders_with_numbers_as_names_are_put_into_label_order(tmp_path, save_image):
    for number in range(12):
        save_image(tmp_path / "val" / str(number) / "1.png", seed=number)
    as_text = folder(tmp_path, split="val")
    assert as_text.classes[:3] == ["0", "1", "10"]
    in_order = folder(tmp_path, split="val", classes=[str(number) for number in range(12)])
    assert [int(file.split("/")[-2]) for file in in_order.files] == in_order.targets.tolist() == list(range(12))


def test_an_image_that_replaces_another_keeps_its_own_label(image_root):
    """Also where labels are checked."""
    cut(image_root / "train" / "cat" / "4.png")
    pets = folder(image_root, skip_corrupt=True)
    assert (pets.targets[3], pets[3][1]) == (0, 1)
    (samples,) = build_test_loader(pets, [2, 3, 4], 3)
    assert samples.targets.tolist() == [0, 1, 1]


def test_grey_palette_and_other_files(image_root, save_image):
    save_image(image_root / "train" / "ant" / "1.PNG", mode="L")
    save_image(image_root / "train" / "ant" / "2.png", mode="P")
    save_image(image_root / "train" / "ant" / "3.jpg", mode="CMYK")
    (image_root / "train" / "ant" / "notes.txt").write_text("not an image")
    pets = folder(image_root)
    assert pets.targets.tolist() == [0] * 3 + [1] * 4 + [2] * 3
    assert {pets.load(index)[0].shape for index in range(3)} == {(3, 12, 10)}


def test_resize_then_crop_at_the_centre(tmp_path):
    """A wide image, white in the middle third: the shorter side becomes 8, the crop keeps the middle."""
    pixels = np.zeros((16, 48, 3), dtype=np.uint8)
    pixels[:, 16:32] = 255
    (tmp_path / "train" / "a").mkdir(parents=True)
    Image.fromarray(pixels).save(tmp_path / "train" / "a" / "1.png")
    image, _ = folder(tmp_path, image_size=4, resize=8).load(0)
    assert image.shape == (3, 4, 4)
    assert image.min() == 255
    whole, _ = folder(tmp_path, image_size=8).load(0)
    assert whole.shape == (3, 8, 8)
    assert whole.float().mean() > 240


@pytest.mark.parametrize(
    ("height", "width", "resized", "left", "top"),
    [(375, 500, (341, 256), 58, 16), (500, 333, (256, 384), 16, 80), (240, 200, (256, 307), 16, 42)],
)
def test_evaluation_at_256_and_224_is_that_of_pil(tmp_path, save_image, height, width, resized, left, top):
    """Resize(256) bicubic and CenterCrop(224) of the reference, and the bytes are pixels: nothing is normalised."""
    file = save_image(tmp_path / "val" / "a" / "1.jpg", height, width)
    expected = Image.open(file).resize(resized, Image.Resampling.BICUBIC).crop((left, top, left + 224, top + 224))
    image, _ = folder(tmp_path, split="val", image_size=224, resize=256).load(0)
    assert image.dtype == torch.uint8
    assert torch.equal(image, torch.from_numpy(np.array(expected)).permute(2, 0, 1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 8, "resize": 4}, "resize=4 needs an image_size that is not larger"),
        ({"resize": 4}, "got image_size=None"),
        ({"image_size": 0}, "image_size is 0"),
        ({"split": "val"}, "no split 'val': there is no folder .*/pets/val"),
    ],
)
def test_wrong_options(image_root, options, message):
    with pytest.raises(UserError, match=message):
        folder(image_root, **options)


def test_class_without_images(image_root):
    (image_root / "train" / "empty").mkdir()
    with pytest.raises(UserError, match=f"no images in {image_root}/train/empty"):
        folder(image_root)


@pytest.mark.parametrize("workers", [0, 2])
def test_corrupt_image_is_named_in_one_line(image_root, workers):
    bad = image_root / "train" / "cat" / "3.png"
    cut(bad)
    with pytest.raises(
        UserError, match=f"^cannot read image {bad}: .*; repair or remove it, or set skip_corrupt=True$"
    ):
        list(build_test_loader(folder(image_root), list(range(7)), 2, num_workers=workers))
    with pytest.raises(UserError, match=f"{bad}"):
        folder(image_root, in_memory=True)


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"])
def test_every_kind_of_garbage_is_one_line(image_root, content):
    (image_root / "train" / "cat" / "1.jpg").write_bytes(content)
    with pytest.raises(UserError, match=r"cat/1\.jpg") as error:
        folder(image_root).load(0)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("in_memory", [False, True])
def test_corrupt_images_are_skipped_when_asked(image_root, caplog, in_memory):
    for name in ("3", "4"):
        cut(image_root / "train" / "cat" / f"{name}.png")
    with caplog.at_level(logging.WARNING):
        pets = folder(image_root, skip_corrupt=True, in_memory=in_memory)
        rows = [pets.load(index) for index in (2, 3, 4, 2)]
    assert all(torch.equal(image, rows[2][0]) for image, _ in rows)  # dog/1 stands in for both
    assert [label for _, label in rows] == [1, 1, 1, 1]
    assert len(caplog.records) == 2  # once a file
    assert "cat/4.png" in caplog.messages[1]
    assert "(2 so far in this process)" in caplog.messages[1]


def test_skipping_goes_round_the_end_but_not_for_ever(image_root):
    files = sorted((image_root / "train").rglob("*.png"))
    cut(files[-1])
    pets = folder(image_root, skip_corrupt=True)
    assert torch.equal(pets.load(6)[0], pets.load(0)[0])
    for file in files[:-1]:
        cut(file)
    with pytest.raises(UserError, match="none of the 7 images can be read"):
        folder(image_root, skip_corrupt=True).load(3)


def test_training_with_a_corrupt_image_is_the_same_for_any_number_of_workers(image_root):
    cut(image_root / "train" / "cat" / "2.png")
    pets = folder(image_root, skip_corrupt=True)
    epochs = []
    for workers in (0, 2):
        batches = iter(build_train_loader(pets, 7, seed=3, num_workers=workers))
        epochs.append(torch.cat([next(batches).images for _ in range(2)]))
    assert torch.equal(*epochs)
