import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch

from dmaelab.corruptions import Corruption, Gaussian, Uniform
from dmaelab.smoothing import CERTIFIERS, Certificate, Certifier, Cohen, Predict, Votes, certify_images
from dmaelab.smoothing.evaluation import Evaluation
from dmaelab.utils.errors import UserError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(brightness, images, tmp_path):
    """Certify the images with small samples; every argument can be replaced."""

    def certify(out="log", **changes):
        options = {
            "classifier": brightness, "images": images.__getitem__, "indices": range(len(images)), "certifier": Cohen(20, 300, 0.001),
            "corruption": Gaussian(0.25), "num_classes": 3, "out": tmp_path / out, "batch_size": 64, "progress": False,
        }  # fmt: skip
        return certify_images(**(options | changes))

    return certify


@pytest.mark.parametrize("batch_size", [1, 50, 1024])
def test_rows_do_not_depend_on_the_batch(run, comparable, batch_size):
    assert comparable(run("other", batch_size=batch_size)) == comparable(run())


def test_rows_do_not_depend_on_the_order(run, comparable, images):
    order = list(range(len(images)))
    random.Random(0).shuffle(order)
    assert comparable(run("other", indices=order)) == comparable(run())


def test_images_are_certified_for_what_they_are(run):
    rows = run()
    assert [row["idx"] for row in rows] == list(range(12))
    dark = [row for row in rows if row["idx"] % 8 == 0]  # 0.4 away from the nearest other class
    assert all(row["predict"] == row["label"] == 0 and row["correct"] == 1 and 0 < row["radius"] <= 0.38 for row in dark)
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
from dmaelab.smoothing import Cohen, certify_images

class Slow(Brightness):
    def forward(self, images):
        time.sleep(0.02)
        return super().forward(images)

certify_images(Slow(), Dim(40).__getitem__, range(40), Cohen(20, 300, 0.001), Gaussian(0.25),
               num_classes=3, out=sys.argv[1], batch_size=64, progress=False)
"""


def test_a_killed_run_goes_on_to_the_same_log(run, comparable, images, tmp_path):
    images.count = 40
    folder = tmp_path / "killed"
    shard = folder / "shard-000-of-001.tsv"
    code = textwrap.dedent(CHILD).format(tests=str(Path(__file__).parent))
    for wanted in (3, 15):
        child = subprocess.Popen([sys.executable, "-c", code, str(folder)], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
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


def test_the_header_tells_what_determines_the_rows(run, tmp_path):
    run(identity={"plugins": ["mine"]}, context={"data": "dim"})
    header = json.loads((tmp_path / "log" / "header.json").read_text())
    identity = header["identity"]
    assert (identity["sigma"], identity["alpha"], identity["n0"], identity["n"], identity["seed"]) == (0.25, 0.001, 20, 300, 0)
    assert identity["certifier"] == {"name": "cohen", "weight": 0.9, "skip_wrong": False}
    assert identity["corruption"] == {"name": "gaussian"}
    assert (identity["norm"], identity["tau"], identity["classes"], identity["precision"]) == ("l2", 0.0, 3, "fp32")
    assert (identity["shape"], identity["batch_shape"], identity["subset"]["count"]) == ([1, 4, 4], [64, 1, 4, 4], 12)
    assert identity["plugins"] == ["mine"]
    assert (identity["geometry"], identity["channels_last"], identity["compile"]) == ("dmaelab.stats.geometry.GaussianL2", False, False)
    assert header["indices"] == "0:12"
    assert header["context"]["data"] == "dim"
    assert header["context"]["torch"] == torch.__version__


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"corruption": Gaussian(0.5)}, "sigma"),
        ({"corruption": Uniform(0.25)}, "corruption.name"),
        ({"certifier": Cohen(20, 301, 0.001)}, "n is"),
        ({"batch_size": 32}, "batch_shape"),
        ({"evaluation": Evaluation("bf16")}, "precision"),
        ({"evaluation": Evaluation(channels_last=True)}, "channels_last"),
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

    certifier = Lazy(1, 300, 0.05)
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
        ({"images": lambda index: (torch.full((1, 4, 4 + index), 0.5), 0)}, "image 1 has the shape"),
        ({"images": lambda index: (torch.full((1, 4, 4), 0.5 * index), 0)}, "image 3 has values from 1.5"),
    ],
)
def test_bad_input_is_one_line(run, changes, words):
    with pytest.raises(UserError, match=words) as caught:
        run(**changes)
    assert "\n" not in str(caught.value)


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
