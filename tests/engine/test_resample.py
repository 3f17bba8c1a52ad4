"""Rows of a log are sampled again: replayed where the log was written, else tested with fresh noise."""

import json
import shutil

import pytest

from dmaelab.certifiers.verification import verify_log
from dmaelab.config import LazyConfig, open_config
from dmaelab.engine import open_certification
from dmaelab.engine.resample import resample
from dmaelab.records.merge import identity_hash
from dmaelab.records.row import floor_radius
from dmaelab.stats.geometry import GaussianL2
from dmaelab.stats.looks import Looks
from dmaelab.utils import env
from dmaelab.utils.errors import UserError

HERE = ["certify.device=cpu", "dataset.split=test"]
QUICK = [*HERE, "certifier.n0=20", "certify.batch_size=100", 'certify.subset={"count": 20}']
CERTIFIERS = {
    "cohen": ["certifier.n=200"],
    "sequential": ["certifier.name=sequential", "certifier.n=400", "certifier.radii=[0.0, 0.1]"],
    "predict": ["certifier.name=predict", "certifier.n=100"],
}


@pytest.fixture(scope="module", autouse=True)
def code():
    """The code has a commit and no changes, wherever the tests run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(env, "_git", lambda: "0123456789ab")
        yield


@pytest.fixture(scope="module")
def logs(classifier_run, tmp_path_factory):
    """Return the folder of a log by the name of its certifier."""
    out = tmp_path_factory.mktemp("resample") / "out"
    for name, options in CERTIFIERS.items():
        quick = [text for text in QUICK if name != "predict" or "n0" not in text]
        overrides = [*quick, *options, f"certify.out_dir={out}", f"certify.name={name}", "certify.seed=3"]
        open_certification(classifier_run, overrides).run(progress=False)
    return out / "certify"


@pytest.fixture
def log(logs, tmp_path):
    """Return a function that copies a log and perhaps makes it one of another machine, or with another context."""

    def get(name, elsewhere=False, **context):
        folder = shutil.copytree(logs / name, tmp_path / name)
        header = json.loads((folder / "header.json").read_text())
        header["context"] |= {"threads": 7} if elsewhere else context
        (folder / "header.json").write_text(json.dumps(header))
        return folder

    return get


def edit(folder, change):
    """Call ``change(row)`` for each row, a dict of texts, and write what it leaves."""
    path = folder / "shard-000-of-001.tsv"
    first, *lines = path.read_text().splitlines()
    columns = first.split("\t")
    rows = [dict(zip(columns, line.split("\t"), strict=True)) for line in lines]
    for row in rows:
        change(row)
    path.write_text("\n".join([first, *["\t".join(row.values()) for row in rows]]) + "\n")


def claim_more(row):
    """Give 15 more votes to the class of an answer, with all that follows from them: no log can show it."""
    count, other, n = int(row["count_a"]) + 15, int(row["count_b"]), int(row["n"])
    if row["predict"] == "-1" or count > n:
        return
    other = min(other, n - count)
    looks = Looks(n, 0.001)
    lower, upper = looks.lower(count, n), looks.upper_beside(other, n)
    radius = GaussianL2().radius(0.25, lower)
    two_sided = GaussianL2().radius(0.25, looks.lower_beside(count, n), upper)
    row |= {
        "count_a": str(count), "count_b": str(other), "look_a": f"{count}/{n}", "look_b": f"{other}/{n}",
        "p_lower": repr(lower), "p_upper": repr(upper), "radius_full": repr(radius), "radius": floor_radius(radius),
        "radius_two_sided": repr(two_sided), "runner_up": row["runner_up"],
    }  # fmt: skip
    if not other:
        row["runner_up"] = "1" if row["top"] == "0" else "0"


@pytest.mark.parametrize("name", CERTIFIERS)
def test_a_log_is_replayed_where_it_was_written(log, classifier_run, name):
    found = resample(log(name), classifier_run, HERE, rows=6, seed=5)
    assert found == ([], "a replay of 6 of 20 rows (seed 5) gives the same cells")


def test_counts_that_are_invented_are_found_where_the_log_was_written(log, classifier_run):
    folder = log("cohen")
    edit(folder, lambda row: [claim_more(row) for _ in range(4)])
    assert verify_log(folder) == (20, [])  # nothing shows it in the log
    problems, verdict = resample(folder, classifier_run, HERE, rows=20, seed=0)
    assert len(problems) > 1
    assert all("fresh samples are of its class" in problem for problem in problems)
    assert "rows have other cells, which can be rounding of near ties; most differs image" in verdict
    assert "time" not in verdict


def test_a_replay_with_other_cells_does_not_make_a_log_wrong(log, classifier_run):
    """A replay of some rows moves samples in their batches, so the class of a near tie may change."""
    folder, changed = log("cohen"), []

    def flip_one(row):
        if int(row["count_a"]) < 195 and row["predict"] != "-1" and len(changed) < 2:
            votes = 1 + 2 * len(changed)
            changed.append((row["idx"], row["count_a"], int(row["count_a"]) - votes))
            row["count_a"] = str(changed[-1][2])

    edit(folder, flip_one)
    problems, verdict = resample(folder, classifier_run, HERE, rows=20, seed=0)
    assert problems == []
    image, true, said = changed[1]
    assert "(seed 0; in a replay 2 of 20 rows have other cells" in verdict
    assert f"most differs image {image}: count_a is {said}, not {true})" in verdict


@pytest.mark.parametrize(
    ("context", "words"),
    [
        ({"code": None}, "code is None in the log, '0123456789ab' here"),
        ({"code": "0123456789ab-dirty"}, "code is '0123456789ab-dirty' in the log"),
        ({"code": "ab0123456789"}, "code is 'ab0123456789' in the log"),
        ({"versions": None}, "versions.torch is absent in the log"),
        ({"versions": "torch"}, "versions is 'torch' in the log"),
        ({"versions": env.environment()["versions"] | {"numpy": "0.1"}}, "versions.numpy is '0.1' in the log"),
        ({"cpu": "abacus"}, "cpu is 'abacus' in the log"),
        ({"device": "abacus"}, "device is 'abacus' in the log"),
        ({"threads": None}, "threads is None in the log"),
    ],
)
def test_what_may_round_otherwise_is_no_replay(log, classifier_run, context, words):
    with pytest.raises(UserError, match="not a replay, ") as error:
        resample(log("predict", **context), classifier_run, HERE, rows=2)
    assert words in str(error.value)


@pytest.mark.parametrize("code", [None, "0123456789ab-dirty"])
def test_a_replay_needs_no_clean_checkout(log, classifier_run, monkeypatch, code):
    """An installed package has no commit. Only an equal replay is a result, so nothing rests on the code's name."""
    folder = log("predict", code=code)
    monkeypatch.setattr(env, "_git", lambda: code)
    problems, verdict = resample(folder, classifier_run, HERE, rows=2)
    assert problems == []
    assert verdict.startswith("a replay of 2 of")


@pytest.mark.parametrize("keep", [0, 1, 20])
def test_rows_that_can_show_nothing_decide_nothing(log, classifier_run, keep):
    """One failing row never makes a log wrong, so at least two rows must claim something."""
    folder, kept = log("cohen", elsewhere=True), []

    def abstain(row):
        if row["predict"] != "-1":
            kept.append(row["idx"])
            if len(kept) > keep:
                row |= {"predict": "-1", "correct": "0", "radius": "0.000000", "radius_full": "0.0"}

    edit(folder, abstain)
    rows = 1 if keep == 20 else 20
    with pytest.raises(UserError, match=r"[01] of (1|20) drawn rows .* can show nothing: .* more rows, at least 2 \("):
        resample(folder, classifier_run, HERE, rows=rows, seed=1)


@pytest.mark.parametrize("name", ["cohen", "sequential"])
def test_elsewhere_the_claims_are_tested_with_fresh_noise(log, classifier_run, name):
    """Rows that stopped early are tested, too: their p_lower is a bound, whenever they stopped."""
    problems, verdict = resample(log(name, elsewhere=True), classifier_run, HERE, rows=20, seed=1)
    assert problems == []
    assert "drawn rows claim a probability, 0 of these fail with fresh noise" in verdict
    assert "sound certificates exceed 1 with probability 0.001 at most" in verdict
    assert "(seed 1; not a replay, threads is 7 in the log, 1 here)" in verdict


def test_fresh_noise_finds_counts_that_are_invented(log, classifier_run):
    folder = log("cohen", elsewhere=True)
    edit(folder, lambda row: [claim_more(row) for _ in range(4)])
    assert verify_log(folder) == (20, [])
    problems, verdict = resample(folder, classifier_run, HERE, rows=20, seed=2)
    assert len(problems) > 1
    assert all("fresh samples are of its class" in problem for problem in problems), problems
    assert f"{len(problems)} of these fail with fresh noise" in verdict


def test_one_certificate_may_be_wrong(log, classifier_run):
    folder = log("cohen", elsewhere=True)
    done = []

    def once(row):
        if not done and row["predict"] != "-1" and int(row["count_a"]) < 150:
            done.append(row["idx"])
            for _ in range(4):
                claim_more(row)

    edit(folder, once)
    assert done
    problems, verdict = resample(folder, classifier_run, HERE, rows=20, seed=2)
    assert problems == []
    assert "1 of these fail with fresh noise" in verdict
    assert f"image {done[0]}: p_lower is" in verdict


def test_labels_are_compared_before_anything_is_sampled(log, classifier_run):
    folder, changed = log("cohen"), []

    def relabel(row):
        if not changed and row["predict"] == "-1":
            changed.append(row["idx"])
            row["label"] = str((int(row["label"]) + 1) % 10)

    edit(folder, relabel)
    assert verify_log(folder) == (20, [])
    problems, verdict = resample(folder, classifier_run, HERE, rows=1)
    assert [problem.split(":")[0] for problem in problems] == [f"image {changed[0]}"]
    assert verdict == "1 labels are not those of the data set"


def test_a_draw_without_a_seed_says_its_seed_and_another_seed_draws_other_rows(log, classifier_run):
    verdicts = {resample(log_, classifier_run, HERE, rows=1).verdict for log_ in [log("predict")] * 3}
    assert len(verdicts) == 3
    assert all("(seed " in verdict for verdict in verdicts)


def test_what_is_not_the_log_s_is_refused_in_one_line(log, classifier_run, tmp_path):
    folder = log("cohen")
    other = shutil.copytree(classifier_run, tmp_path / "other")
    frozen = LazyConfig.load(other / "config.yaml")
    frozen.model.classifier.backbone.drop_path = 0.1
    LazyConfig.save(frozen, other / "config.yaml")
    header = json.loads((folder / "header.json").read_text())
    first_step = sorted((classifier_run / "checkpoints").glob("*.pth"))[0]
    for source, overrides, rows, words in (
        (classifier_run, HERE, 0, "the number of rows is 0"),
        (classifier_run, ["certify.device=cpu"], 1, "image 0 is another one in the data set"),
        (
            classifier_run,
            [*HERE, f"certify.weights={first_step}"],
            1,
            "another certification: weights is '.*' in the log",
        ),
        (other, HERE, 1, "another certification: model.backbone.drop_path is .* in the log, 0.1 here"),
        (tmp_path, HERE, 1, "is not a run directory"),
    ):
        with pytest.raises(UserError, match=words) as error:
            resample(folder, source, overrides, rows)
        assert "\n" not in str(error.value)
    for changes, words in (
        ({"corruption": {"name": "gausian"}}, "unknown corruption 'gausian'"),
        ({"corruption": {"name": "gaussian", "power": 3}}, "the noise 'gaussian' cannot be built"),
        ({"corruption": {"name": "uniform"}}, "another certification: .*geometry is"),
        ({"precision": "fp8"}, "unknown precision 'fp8'"),
        ({"first_image": "0" * 16}, "image 0 is another one in the data set"),
    ):
        changed = header | {"identity": header["identity"] | changes}
        changed["identity_hash"] = identity_hash(changed["identity"])
        (folder / "header.json").write_text(json.dumps(changed))
        with pytest.raises(UserError, match=words) as error:
            resample(folder, classifier_run, HERE, 1)
        assert "\n" not in str(error.value)


def test_rows_of_predict_can_only_be_replayed(log, classifier_run):
    with pytest.raises(
        UserError, match="claims no probabilities, so only an equal replay can confirm its rows: not a replay, thre"
    ):
        resample(log("predict", elsewhere=True), classifier_run, HERE, rows=2)


def test_rows_of_predict_with_another_replay_are_undecided(log, classifier_run):
    folder = log("predict")
    edit(folder, lambda row: row.update(count_a=str(int(row["count_a"]) - 1)))
    with pytest.raises(UserError, match="only an equal replay can confirm its rows: in a replay 2 of 2 rows have othe"):
        resample(folder, classifier_run, HERE, rows=2)


MODULE = """
from torch import nn

class Corners(nn.Module):
    def __init__(self, scale=1.0):
        super().__init__()
        self.scale = scale

    def forward(self, images):
        return self.scale * images.flatten(1)[:, :10]

class Dropped(Corners):
    def forward(self, images):
        return super().forward(nn.functional.dropout(images, 0.1))
"""


def config_with(target, folder, monkeypatch, **settings):
    """Return the path of a config with a classifier of the module above, which the user trusts."""
    (folder / "corner_models.py").write_text(MODULE)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("DMAELAB_PLUGINS", "corner_models")
    base = open_config("certify/default", ["certifier.n=100", "corruption.sigma=0.25"])
    base.certify = {"out_dir": str(folder), "device": "cpu"} | settings
    base.classifier = {"_target_": f"corner_models.{target}"}
    base.dataset = {"_target_": "dmaelab.data.build_dataset", "name": "digits", "split": "test"}
    LazyConfig.save(base, folder / "mine.yaml")
    return folder / "mine.yaml"


def test_random_numbers_of_the_classifier_are_never_replayed(tmp_path, monkeypatch):
    source = config_with("Dropped", tmp_path, monkeypatch, subset={"count": 40}, own_randomness=True)
    folder = open_certification(source).run(progress=False)
    problems, verdict = resample(folder, source, [], rows=40, seed=5)
    assert problems == []
    assert "0 of these fail with fresh noise" in verdict
    assert "(seed 5; not a replay, the classifier draws random numbers of its own)" in verdict
    source = config_with("Dropped", tmp_path, monkeypatch, subset={"count": 4}, own_randomness=True, name="votes")
    folder = open_certification(source, ["certifier.name=predict"]).run(progress=False)
    with pytest.raises(UserError, match="only an equal replay can confirm its rows: not a replay, the classifier draw"):
        resample(folder, source, [], rows=4)


def test_a_config_with_a_classifier_of_the_user(tmp_path, monkeypatch):
    source = config_with("Corners", tmp_path, monkeypatch, subset={"count": 5})
    folder = open_certification(source).run(progress=False)
    found = resample(folder, source, [], rows=9, seed=5)
    assert found == ([], "a replay of 5 of 5 rows (seed 5) gives the same cells")
    with pytest.raises(UserError, match=r"model\.scale is absent in the log, 2\.0 here"):
        resample(folder, source, ["classifier.scale=2.0"], rows=1)
