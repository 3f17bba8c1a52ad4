"""Random words for GPUs: the published numbers, the same words by every way, and nothing that depends on the size of a
call.
"""

import shutil
import subprocess

import pytest
import torch
from scipy import stats

from dmaelab.utils.philox import KERNEL, _function, cipher, philox_words, plain_words
from dmaelab.utils.random import Draw

CPU = torch.device("cpu")
KEYS = [bytes(range(16)), b"\xff" * 16, b"\x00" * 15 + b"\x80"]
GOLDEN = [
    [5176954784679139144, 2047642134153506168, -7677084745876726708],
    [4412369881046549462, 8073067289236459409, -7838932105455886161],
    [-2471402923843988987, -5521352196528272060, 7745139421595419542],
]
DEVICES = [
    CPU,
    pytest.param(
        torch.device("cuda"),
        marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")],
    ),
]


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_the_numbers_that_its_authors_published(counter, key, expected):
    numbers = [[torch.tensor(int(word, 16)) for word in text.split()] for text in (counter, key)]
    assert [f"{int(number):08x}" for number in cipher(*numbers)] == expected.split()


@pytest.mark.parametrize("device", DEVICES)
def test_golden_words(device):
    """Other words would make logs and resumed runs disagree with those of an earlier version; every GPU gives these."""
    assert philox_words(KEYS, 3, device).tolist() == GOLDEN
    far = [torch.tensor(numbers, device=device) for numbers in ([2**40 + 1], [[1]], [[2]])]
    assert _function(device)(*far).tolist() == [[-2196360386596534253]]


@pytest.mark.parametrize("device", DEVICES)
def test_a_word_depends_on_its_key_and_place_alone(device):
    alone = [philox_words([key], 1001, device)[0] for key in KEYS]
    together = philox_words(KEYS, 100_003, device)
    assert all(torch.equal(row[:1001], words) for row, words in zip(together, alone, strict=True))


def test_the_kernel_can_be_parsed_and_gives_the_plain_words(tmp_path):
    """The text for the GPU is also C++: a compiler of the host computes the same words from it."""
    torch.cuda.jiterator._create_jit_fn(KERNEL)
    if (compiler := shutil.which("g++")) is None:
        pytest.skip("there is no g++")
    source, program = tmp_path / "words.cpp", tmp_path / "words"
    places, keys = [0, 1, 2, 3, 2**40 + 1], [[1, 2], [-3, 4], [5, -6]]
    calls = [f"philox_word<long long>({place}LL, {key}LL, {more}LL)" for key, more in keys for place in places]
    printing = "".join(f'std::printf("%lld ", {call});' for call in calls)
    source.write_text(f"#include <cstdio>\n{KERNEL}\nint main() {{ {printing} }}\n")
    subprocess.run([compiler, "-o", program, source], check=True)
    printed = [
        int(word) for word in subprocess.run([program], capture_output=True, text=True, check=True).stdout.split()
    ]
    halves = torch.tensor(keys)
    assert printed == plain_words(torch.tensor(places), halves[:, :1], halves[:, 1:]).view(-1).tolist()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.filterwarnings("error")
def test_a_gpu_has_the_kernel():
    _function.cache_clear()
    assert _function(torch.device("cuda", torch.cuda.current_device())) is not plain_words


def test_bits_are_fair_and_keys_are_apart():
    words = philox_words([Draw(0, "train", number)._digest() for number in range(64)], 1024, CPU)
    ones = torch.stack([(words >> bit) & 1 for bit in range(64)]).view(64, -1).sum(dim=1).numpy()
    low, high = stats.binom.interval(1 - 1e-6, words.numel(), 0.5)
    assert ((ones >= low) & (ones <= high)).all()
    assert words.unique().numel() == words.numel()
