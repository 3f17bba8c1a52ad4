"""Two decoders, one picture: what torchvision decodes must be what PIL would have decoded."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from dmaelab.data import decode
from dmaelab.data.decode import read_pil, read_rgb, to_tensor
from dmaelab.utils.errors import UserError


@pytest.fixture
def picture():
    """A smooth picture with an edge, of odd sides."""
    y, x = np.mgrid[:75, :101]
    pixels = np.stack([x * 2, y * 3, 255 - x - y], -1)
    pixels[20:40, 30:60] = (250, 10, 90)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def write(tmp_path, picture, name="x.jpg", **options):
    picture.save(tmp_path / name, **options)
    return str(tmp_path / name)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize(
    "options", [{}, {"subsampling": 0}, {"subsampling": 1}, {"progressive": True}, {"restart_marker_rows": 2}]
)
def test_a_jpeg_has_the_pixels_that_pil_gives_it(tmp_path, picture, mode, options):
    file = write(tmp_path, picture.convert(mode), **options)
    image = read_rgb(file)
    with Image.open(file) as opened:
        expected = torch.from_numpy(np.array(opened.convert("RGB"))).permute(2, 0, 1)
    assert image.dtype == torch.uint8
    assert image.shape == (3, 75, 101)
    assert torch.equal(image, expected)
    assert torch.equal(to_tensor(read_pil(file)), expected)
    assert torch.equal(image.zero_(), torch.zeros_like(expected))  # a transform may work in place


def test_colour_jpegs_are_decoded_by_torchvision_alone(tmp_path, picture, monkeypatch):
    monkeypatch.setattr(decode, "_convert", None)
    assert read_rgb(write(tmp_path, picture)).stride(0) == 1  # pixels stay interleaved: the resize behind it is faster


def test_without_torchvisions_decoders_pil_reads_the_same(tmp_path, picture, monkeypatch):
    file = write(tmp_path, picture)
    expected = read_rgb(file)

    def gone(content):
        raise AttributeError("no such operator")

    monkeypatch.setattr(decode, "_decode_jpeg", gone)
    assert torch.equal(read_rgb(file), expected)


def test_names_do_not_decide_and_exif_does_not_turn(tmp_path, picture):
    png = write(tmp_path, picture, "png.jpg", format="PNG")
    assert torch.equal(read_rgb(png), to_tensor(picture))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    plain, turned = write(tmp_path, picture, "plain.jpg"), write(tmp_path, picture, "turned.jpg", exif=exif)
    assert torch.equal(read_rgb(turned), read_rgb(plain))


def test_both_decoders_agree_on_damaged_files(tmp_path, picture, capfd):
    """Bits flipped, bytes cut out, ends cut off: both give the same pixels, or the file is refused."""
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG")
    rng, file, outcomes = np.random.default_rng(0), tmp_path / "x.jpg", []
    for trial in range(150):
        content = bytearray(buffer.getvalue())
        place = int(rng.integers(2, len(content)))
        if trial % 3 == 0:
            content = content[:place]
        elif trial % 3 == 1:
            content[place] ^= 1 << int(rng.integers(8))
        else:
            del content[place : place + int(rng.integers(1, 40))]
        file.write_bytes(content)
        outcomes.append([outcome(read, str(file)) for read in (read_rgb, lambda name: to_tensor(read_pil(name)))])
    capfd.readouterr()  # libjpeg's own words
    assert all(one == other for one, other in outcomes)
    assert 20 < sum(one is None for one, _ in outcomes) < 130


def outcome(read, file):
    """Return shape and pixels as bytes, or None for a file that is refused."""
    try:
        image = read(file)
    except UserError:
        return None
    return tuple(image.shape), image.contiguous().numpy().tobytes()
