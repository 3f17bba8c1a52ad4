import gc
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
import warnings
from pathlib import Path

import pytest
import torch

from dmaelab.certifiers import CERTIFIERS, Certificate, Certifier, Cohen, Predict, Sequential, Votes
from dmaelab.corruptions import Corruption, Gaussian, QuantisedGaussian, Uniform
from dmaelab.smoothing import Smoothing, certify_images
from dmaelab.smoothing.arithmetic import Arithmetic
from dmaelab.utils.errors import UserError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(brightness, images, tmp_path):
    """Certify the images with small samples; every argument can be replaced."""

    def certify(out="log", **changes):
        own = {"classifier": brightness, "corruption": Gaussian(0.25), "num_classes": 3, "batch_size": 64}
        own |= {name: changes.pop(name) for name in [*own, "arithmetic", "on_invalid", "seed"] if name in changes}
        options = {
            "images": images.__getitem__, "indices": range(len(images)), "certifier": Cohen(20, 300, 0.001),
            "out": tmp_path / out, "progress": False,
        }  # fmt: skip
        return certify_images(Smoothing(own.pop("classifier"), **own), **(options | changes))

    return certify


@pytest.mark.parametrize("batch_size", [1, 50, 1024])
def test_rows_do_not_depend_on_the_batch(run, comparable, batch_size):
    assert comparable(run("other", batch_size=batch_size)) == comparable(run())


def test_rows_do_not_depend_on_the_order(run, comparable, images):
    order = list(range(len(images)))
    random.Random(0).shuffle(order)
    assert comparable(run("other", indices=order)) == comparable(run())


SEQUENTIAL = {
    "grid": Sequential(20, 2000, 0.001, radii=[0.0, 0.1, 0.2, 0.3]),
    "target": Sequential(20, 2000, 0.001, mode="target", radii=[0.2]),
    "radius": Sequential(20, 500, 0.001, mode="radius"),
    "skipping": Sequential(20, 2000, 0.001, skip_wrong=True),
}


@pytest.mark.parametrize("name", SEQUENTIAL)
def test_sequential_rows_depend_on_nothing_but_the_identity(run, comparable, images, name):
    """Not on which images are in flight, on the number of shards, or on the order."""
    images.count = 24
    certifier, order = SEQUENTIAL[name], list(range(24))
    random.Random(1).shuffle(order)
    whole = run(certifier=certifier, batch_size=128)
    assert len({row["n"] for row in whole}) > 1
    assert comparable(run("order", certifier=certifier, batch_size=128, indices=order)) == comparable(whole)
    parts = [row for shard in range(5) for row in run("shards", certifier=certifier, batch_size=128, shard=(shard, 5))]
    assert comparable(sorted(parts, key=lambda row: row["idx"])) == comparable(whole)
    alone = [run(f"alone{i}", certifier=certifier, batch_size=128, indices=[i])[0] for i in (0, 3, 5)]
    assert comparable(alone) == comparable([whole[i] for i in (0, 3, 5)])


def test_images_are_certified_for_what_they_are(run):
    rows = run()
    assert [row["idx"] for row in rows] == list(range(12))
    dark = [row for row in rows if row["idx"] % 8 == 0]  # 0.4 away from the nearest other class
    assert all(
        row["predict"] == row["label"] == 0 and row["correct"] == 1 and 0 < row["radius"] <= 0.38 for row in dark
    )
    assert all(row["radius"] <= row["radius_full"] < row["radius"] + 1e-6 for row in rows)
    assert all(row["time"] > 0 and row["samples"] == 320 for row in rows)


def test_shards_add_up_to_the_whole(run, comparable):
    whole = comparable(run())
    parts = [row for shard in range(3) for row in run("shards", shard=(shard, 3))]
    assert len(parts) == len(whole)
    assert comparable(sorted(parts, key=lambda row: row["idx"])) == whole
    # positions of the list of indices, and the finished ones count for any number of shards
    assert [row["idx"] for row in run("shards", indices=range(12), shard=(1, 2))] == [1, 3, 5, 7, 9, 11]


def test_finished_images_are_not_certified_again(run, comparable, brightness):
    class Never(type(brightness)):
        def forward(self, images):
            raise AssertionError("the classifier ran")

    Never.__qualname__ = "Brightness"  # the name is part of the identity
    first = run()
    assert str(run(classifier=Never())) == str(first)  # also the times: they are the same rows


def test_an_interrupted_run_goes_on(run, comparable, images, tmp_path):
    def fails_late(index):
        if index == 8:
            raise OSError("disk gone")
        return images[index]

    with pytest.raises(OSError, match="disk gone"):
        run(images=fails_late)
    assert 0 < len((tmp_path / "log" / "shard-000-of-001.tsv").read_text().splitlines()) - 1 < 8
    assert comparable(run()) == comparable(run("whole"))


CHILD = """
import sys, time
sys.path.insert(0, {tests!r})
from conftest import Brightness, Dim
from dmaelab.corruptions import Gaussian
from dmaelab.certifiers import Cohen
from dmaelab.smoothing import Smoothing, certify_images

class Slow(Brightness):
    def forward(self, images):
        time.sleep(0.02)
        return super().forward(images)

Slow.__qualname__ = "Brightness"
smoothing = Smoothing(Slow(), Gaussian(0.25), 3, batch_size=64)
certify_images(smoothing, Dim(40).__getitem__, range(40), Cohen(20, 300, 0.001), out=sys.argv[1], progress=False)
"""


def test_a_killed_run_goes_on_to_the_same_log(run, comparable, images, tmp_path):
    images.count = 40
    folder = tmp_path / "killed"
    shard = folder / "shard-000-of-001.tsv"
    code = textwrap.dedent(CHILD).format(tests=str(Path(__file__).parent))
    for wanted in (3, 15):
        child = subprocess.Popen(
            [sys.executable, "-c", code, str(folder)], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
        deadline = time.monotonic() + 60
        while not (shard.exists() and shard.read_bytes().count(b"\n") > wanted):
            assert child.poll() is None, "the child ended before it was killed"
            assert time.monotonic() < deadline
            time.sleep(0.005)
        child.send_signal(signal.SIGKILL)
        child.wait()
    with shard.open("ab") as file:
        file.write(b"39\t2\t2\t0.1")  # a kill may cut the last line
    assert shard.read_bytes().count(b"\n") - 1 < 40
    assert comparable(run("killed")) == comparable(run("whole"))
    assert not any(line.endswith("0.1") for line in shard.read_text().splitlines())


def test_no_two_chunks_of_a_run_share_noise(run):
    """Images alike, so that equal noise would show in the samples; seeds that a 32-bit generator would confuse."""
    chunks = []

    class Recording(Gaussian):
        def apply(self, images, sigma, draw):
            samples = super().apply(images, sigma, draw)
            chunks.extend(hash(row.numpy().tobytes()) for row in samples)
            return samples

    for seed in (5, 5 + 2**32):
        run(
            f"seed{seed}",
            images=lambda _: (torch.full((1, 4, 4), 0.5), 1),
            indices=range(40),
            corruption=Recording(0.25),
            seed=seed,
        )
    assert len(chunks) == 2 * 40 * (256 + 2 * 256)  # of 20 selection and 300 estimation samples, made in whole chunks
    assert len(set(chunks)) == len(chunks)


@pytest.mark.slow
def test_twenty_kills_at_random_points_leave_the_same_log(run, comparable, brightness, images, tmp_path):
    """Forked children, killed without warning, each with another number of shards; the last ones finish."""
    images.count, certifier, numbers = 300, SEQUENTIAL["grid"], random.Random(0)

    class Slow(type(brightness)):
        def forward(self, images):
            time.sleep(0.002)
            return super().forward(images)

    Slow.__qualname__ = "Brightness"

    def child(shard):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads; this child uses none
            process = os.fork()
        if process == 0:
            try:
                run("killed", certifier=certifier, classifier=Slow(), shard=shard)
            finally:
                os._exit(0)  # never back into the test
        return process

    kills = 0
    while kills < 20:
        parts = numbers.choice([1, 2, 3])
        process = child((numbers.randrange(parts), parts))
        time.sleep(numbers.uniform(0.01, 0.3))
        os.kill(process, signal.SIGKILL)
        kills += os.waitpid(process, 0)[1] == signal.SIGKILL
    done = sum(len(path.read_text().splitlines()) - 1 for path in (tmp_path / "killed").glob("shard-*.tsv"))
    assert 0 < done < 300
    assert comparable(run("killed", certifier=certifier)) == comparable(run("whole", certifier=certifier))


@pytest.mark.slow
def test_memory_grows_neither_with_samples_nor_with_images(run, brightness):
    """Bytes of all tensors that are alive while the classifier runs."""

    class Watching(type(brightness)):
        calls = most = 0

        def forward(self, images):
            self.calls += 1
            if self.calls % 32:
                return super().forward(images)
            alive = [entry for entry in gc.get_objects() if issubclass(type(entry), torch.Tensor)]
            self.most = max(self.most, sum(tensor.numel() * tensor.element_size() for tensor in alive))
            return super().forward(images)

    peaks = []
    for name, n, count in (("small", 1000, 30), ("samples", 10_000, 30), ("images", 1000, 300)):
        watching = Watching()
        certifier = Cohen(100, n, 0.001)
        run(
            name,
            classifier=watching,
            images=lambda _: (torch.full((1, 4, 4), 0.1), 0),
            indices=range(count),
            certifier=certifier,
            batch_size=256,
        )
        peaks.append(watching.most)
    assert max(peaks) <= 1.1 * peaks[0]


def test_the_header_tells_what_determines_the_rows(run, tmp_path):
    run(identity={"plugins": ["mine"]}, context={"data": "dim"})
    header = json.loads((tmp_path / "log" / "header.json").read_text())
    identity = header["identity"]
    assert (identity["sigma"], identity["alpha"], identity["n0"], identity["n"], identity["seed"]) == (
        0.25,
        0.001,
        20,
        300,
        0,
    )
    assert identity["certifier"] == {"name": "cohen", "weight": 0.9, "skip_wrong": False}
    assert identity["corruption"] == {"name": "gaussian"}
    assert (identity["norm"], identity["tau"], identity["classes"], identity["precision"]) == ("l2", 0.0, 3, "fp32")
    assert (identity["shape"], identity["batch_shape"], identity["subset"]["count"]) == ([1, 4, 4], [64, 1, 4, 4], 12)
    assert identity["plugins"] == ["mine"]
    assert (identity["geometry"], identity["channels_last"], identity["compile"]) == (
        "dmaelab.stats.geometry.GaussianL2",
        False,
        False,
    )
    assert header["indices"] == "0:12"
    assert header["context"]["data"] == "dim"
    assert header["context"]["versions"]["torch"] == torch.__version__.split("+")[0]


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"corruption": Gaussian(0.5)}, "sigma"),
        ({"corruption": Uniform(0.25)}, "corruption.name"),
        ({"certifier": Cohen(20, 301, 0.001)}, "n is"),
        ({"batch_size": 32}, "batch_shape"),
        ({"arithmetic": Arithmetic("bf16")}, "precision"),
        ({"arithmetic": Arithmetic(channels_last=True)}, "channels_last"),
        ({"certifier": Cohen(20, 300, 0.001, skip_wrong=True)}, "certifier.skip_wrong"),
        ({"seed": 1}, "seed"),
        ({"indices": range(11)}, "subset"),
        ({"identity": {"plugins": ["other"]}}, "plugins"),
    ],
)
def test_another_certification_is_refused_in_the_same_folder(run, changes, key):
    run()
    with pytest.raises(UserError, match=key) as caught:
        run(**changes)
    assert "\n" not in str(caught.value)


def test_predict_writes_its_own_columns(run, tmp_path):
    rows = run(certifier=Predict(100, 0.001))
    assert all(row["radius"] == 0 for row in rows)
    assert rows[0]["p_value"] < 0.001
    line = (tmp_path / "log" / "shard-000-of-001.tsv").read_text().splitlines()[0]
    assert line == "idx\tlabel\tpredict\tradius\tcorrect\ttime\ttop\tcount_a\tn\tcount_b\trunner_up\tp_value"


def test_a_plug_in_certifier_gets_the_log_for_nothing(run, comparable):
    class Lazy(Certifier):
        """Grows its sample until the top class leads by a margin; skips images by label."""

        columns = ("top", "n", "lead", "coin")

        def certify(self, case):
            coin = float(case.random("coin").random())
            if case.label == 1:
                return Certificate(prediction=1, top=1, n=0, extra={"lead": 0, "coin": coin})
            total, lead = 10, 0
            while total <= self.n and lead < 30:
                counts = yield Votes("growing", total)
                top, lead = int(counts[:-1].argmax()), int(2 * counts.max() - counts.sum())
                total *= 2
            return Certificate(prediction=top, top=top, n=total // 2, extra={"lead": lead, "coin": coin})

    certifier = Lazy(300, 0.05)
    rows = run(certifier=certifier)
    assert {row["n"] for row in rows if row["label"] == 1} == {0}
    assert len({row["n"] for row in rows}) > 2
    assert comparable(run("other", certifier=certifier, batch_size=17, indices=range(11, -1, -1))) == comparable(rows)


def test_non_finite_logits_abstain_and_are_counted(run, brightness):
    class Broken(type(brightness)):
        def forward(self, images):
            return super().forward(images) / (images[:, :1, 0, 0] > 0)  # dark pixels divide by zero

    with pytest.raises(UserError, match=r"image 0: .* not finite"):
        run(classifier=Broken())
    rows = run(classifier=Broken(), on_invalid="count")  # goes on where the other stopped
    assert all(row["count_b"] > 100 and row["runner_up"] == 3 for row in rows if row["idx"] % 8 == 0)
    assert all(row["predict"] < 3 for row in rows)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"corruption": Corruption(0.25)}, "no geometry"),
        ({"corruption": Gaussian((0.1, 0.2))}, "range"),
        ({"corruption": Gaussian(0)}, "sigma is 0"),
        ({"shard": (2, 2)}, "shard 2/2"),
        ({"indices": []}, "empty"),
        ({"indices": [1, 2, 1]}, "twice"),
        ({"num_classes": 4}, "num_classes=4"),
        ({"certifier": Sequential(20, 300, 0.001, mode="target", radii=[2.0])}, "2 is out of reach"),
        ({"corruption": QuantisedGaussian(0.25)}, "8-bit images"),
        ({"images": lambda index: (torch.full((1, 4, 4 + index), 0.5), 0)}, "image 1 has the shape"),
        ({"images": lambda index: (torch.full((1, 4, 4), 0.5 * index), 0)}, "image 3 has values from 1.5"),
    ],
)
def test_bad_input_is_one_line(run, changes, words):
    with pytest.raises(UserError, match=words) as caught:
        run(**changes)
    assert "\n" not in str(caught.value)
    assert run()  # a mistake that shows before the first batch leaves no log behind


def test_the_corruption_looks_at_every_image(run):
    class Grid(Gaussian):
        def check(self, image):
            if image.max() > 0.7:
                raise UserError("off the grid")

    with pytest.raises(UserError, match="off the grid"):
        run(corruption=Grid(0.25))


@pytest.mark.parametrize("name", CERTIFIERS.names())
def test_every_certifier_repeats_its_rows(run, comparable, name):
    certifier = CERTIFIERS.build(name, n=200)
    assert comparable(run(certifier=certifier)) == comparable(run("other", certifier=certifier, batch_size=33))
