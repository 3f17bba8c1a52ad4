import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from brightness import Brightness, image

from dmaelab.certifiers import CERTIFIERS as REGISTRY
from dmaelab.certifiers import Certifier, Cohen, Predict, Sequential
from dmaelab.certifiers.verification import verify_log
from dmaelab.corruptions import build_corruption
from dmaelab.records.merge import identity_hash
from dmaelab.records.row import floor_radius
from dmaelab.smoothing import SmoothedClassifier, Smoothing, certify_images
from dmaelab.stats.geometry import GaussianL2
from dmaelab.utils.errors import UserError

CERTIFIERS = {
    "cohen": Cohen(20, 300, 0.001),
    "skipping": Cohen(20, 300, 0.001, skip_wrong=True),
    "grid": Sequential(20, 2000, 0.001, radii=[0.0, 0.1, 0.2]),
    "target": Sequential(20, 2000, 0.001, mode="target", radii=[0.1]),
    "radius": Sequential(20, 300, 0.001, mode="radius"),
    "predict": Predict(300, 0.001),
}


@pytest.fixture
def certify(tmp_path):
    def run(certifier, corruption="gaussian"):
        noise = build_corruption(corruption, sigma=0.25)
        certify_images(
            Smoothing(Brightness(), noise, 3),
            image,
            range(12),
            certifier,
            out=tmp_path / "log",
            progress=False,
        )
        return tmp_path / "log"

    return run


def change(folder, index, **values):
    """Replace cells of one row."""
    path = folder / "shard-000-of-001.tsv"
    header, *lines = path.read_text().splitlines()
    columns = header.split("\t")
    for place, line in enumerate(lines):
        cells = line.split("\t")
        if cells[0] == str(index):
            for name, value in values.items():
                cells[columns.index(name)] = str(value)
            lines[place] = "\t".join(cells)
    path.write_text("\n".join([header, *lines]) + "\n")


@pytest.mark.parametrize("name", CERTIFIERS)
@pytest.mark.parametrize("noise", ["gaussian", "quantised_gaussian", "uniform", "laplace"])
def test_every_log_that_is_written_follows_from_its_counts(certify, name, noise):
    assert verify_log(certify(CERTIFIERS[name], noise)) == (12, [])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"radius": "0.900000"}, "radius is too large"),
        ({"radius_full": "0.9"}, "radius_full is too large"),
        ({"p_lower": "0.9999"}, "p_lower is too large"),
        ({"p_upper": "0.0001"}, "p_upper is too small"),
        ({"radius_two_sided": "1.5"}, "radius_two_sided is too large"),
        ({"predict": 2, "label": 2, "correct": 1}, "predicts 2, but selected 0"),
        ({"predict": -1, "correct": 0}, "abstains with the radius"),
        (
            {"predict": -1, "correct": 0, "radius": "0.000000"},
            "abstains with the radius",
        ),  # in the column of all digits
        ({"predict": 7, "top": 7, "label": 7}, "names class 7, but the classifier has 3 classes"),
        ({"predict": -2, "top": -2}, "names class -2, but the classifier has 3 classes"),
        ({"label": 1}, "correct is 1"),
        ({"look_a": "300/301"}, "contradict"),
        ({"count_a": 200}, "contradict"),
        ({"n": 3000, "samples": 3020, "count_a": 3000, "look_a": "3000/3000"}, "contradict"),
        ({"look_b": "nan"}, "is damaged"),
        ({"p_lower": "abc"}, "is damaged"),
        ({"look_a": "100/290"}, "contradict"),  # the last ten samples cannot have brought the rest
        (
            {"count_a": 245, "look_a": "245/300", "count_b": 0, "look_b": "0/300"},
            "contradict",
        ),  # 55 votes that nobody got
        ({"samples": 321}, "contradict"),
    ],
)
def test_claims_that_are_too_large_are_found(certify, values, words):
    folder = certify(CERTIFIERS["cohen"])
    change(folder, 0, **values)
    rows, problems = verify_log(folder)
    assert rows == 12
    assert any(words in problem for problem in problems), problems
    assert all(problem.startswith("image 0: ") for problem in problems)


def test_an_answer_of_predict_accounts_for_all_votes(certify):
    folder = certify(CERTIFIERS["predict"])
    change(folder, 0, count_a=20, count_b=0)
    assert any("counts contradict the header" in problem for problem in verify_log(folder)[1])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"fp_sound": True}, "the header says fp_sound True, but of its geometry fp_sound is False"),
        ({"norm": "l1"}, "the header says norm 'l1', but of its geometry norm is 'l2'"),
        ({"shape": [1, 1, 1]}, "its shape .* is not .*that of its batches"),
        ({"shape": []}, r"shape is \[\], not three whole numbers"),
        ({"shape": 12}, "shape is 12, not three whole numbers"),
        ({"batch_shape": 256}, "batch_shape is 256, not four whole numbers"),
    ],
)
def test_a_header_that_claims_more_than_its_geometry_is_refused(certify, values, words):
    folder = certify(CERTIFIERS["cohen"])
    header = json.loads((folder / "header.json").read_text())
    header["identity"].update(values)
    header["identity_hash"] = identity_hash(header["identity"])
    (folder / "header.json").write_text(json.dumps(header))
    with pytest.raises(UserError, match=words):
        verify_log(folder)


def test_an_early_look_does_not_get_the_bound_of_the_last_one(certify):
    """The counts of a stopped row taken as if n had been fixed there."""
    folder = certify(CERTIFIERS["target"])
    identity = json.loads((folder / "header.json").read_text())["identity"]
    assert identity["certifier"]["share"] == 0.1
    fixed = Cohen(20, 100, 0.001)._looks
    change(folder, 0, p_lower=fixed.lower(100, 100))
    assert any("p_lower is too large" in problem for problem in verify_log(folder)[1])


def test_a_claim_below_what_the_counts_allow_is_fine(certify):
    folder = certify(CERTIFIERS["cohen"])
    smaller = GaussianL2().radius(0.25, 0.51)
    change(
        folder, 0, radius=floor_radius(smaller), radius_full=repr(smaller), radius_two_sided="0.0", p_lower="0.51",
        p_upper="1.0",
    )  # fmt: skip
    assert verify_log(folder) == (12, [])


def test_a_skipped_row_claims_nothing(certify):
    folder = certify(CERTIFIERS["skipping"])
    for claim in (
        {"radius": "0.100000", "radius_full": "0.1"},
        {"radius": "0.000000", "radius_full": "0.0", "radius_two_sided": "7.0"},
    ):
        change(folder, 1, **claim)
        assert verify_log(folder)[1] == [
            "image 1: was skipped for its class, but claims something or should not have been"
        ]


def test_only_a_certifier_that_skips_may_skip(certify):
    folder = certify(CERTIFIERS["cohen"])
    nothing = {
        "radius": "0.000000",
        "radius_full": "0.0",
        "radius_two_sided": "nan",
        "p_lower": "nan",
        "p_upper": "nan",
    }
    change(folder, 1, stop_reason="wrong_class", predict=0, correct=0, **nothing)
    assert "should not have been" in verify_log(folder)[1][0]


def test_an_answer_of_predict_needs_its_p_value(certify):
    folder = certify(CERTIFIERS["predict"])
    change(folder, 0, count_a=160, count_b=140)
    assert "answers with the p-value" in verify_log(folder)[1][0]
    for claim in ({"radius": "9.000000", "count_a": 300, "count_b": 0}, {"radius": "0.000000", "count_a": 3000}):
        change(folder, 0, **claim)
        assert verify_log(folder)[1] == ["image 0: claims a radius, or its counts contradict the header"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"indices": "0:6"}, "list of images in header.json does not match its identity"),
        ({"indices": ""}, "list of images in header.json does not match its identity"),
        ({"identity_hash": "0" * 16}, "identity_hash in header.json does not match identity"),
        ({"identity": {"norm": "linf"}}, "says norm 'linf', but of its geometry norm is 'l2'"),
        ({"identity": {"geometry": None}}, "geometry is null, not text"),
    ],
)
def test_a_header_that_contradicts_itself_is_refused(certify, values, words):
    folder = certify(CERTIFIERS["cohen"])
    header = json.loads((folder / "header.json").read_text())
    if "identity" in values:
        header["identity"] |= values["identity"]
        header["identity_hash"] = identity_hash(header["identity"])
    else:
        header |= values
    (folder / "header.json").write_text(json.dumps(header))
    with pytest.raises(UserError, match=words):
        verify_log(folder)


def test_a_header_cannot_talk_tau_away(certify):
    folder = certify(Cohen(20, 300, 0.001), "quantised_gaussian")
    header = json.loads((folder / "header.json").read_text())
    assert header["identity"]["tau"] == 1e-6
    for tau in (0.0, 9e-7, 2e-6):
        header["identity"]["tau"] = tau
        header["identity_hash"] = identity_hash(header["identity"])
        (folder / "header.json").write_text(json.dumps(header))
        with pytest.raises(UserError, match=f"the header says tau {tau}, but of its geometry tau is 1e-06"):
            verify_log(folder)


def test_missing_and_foreign_rows_are_refused(certify):
    folder = certify(CERTIFIERS["cohen"])
    path = folder / "shard-000-of-001.tsv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-2]))
    with pytest.raises(UserError, match="2 of 12 images have no row: 10, 11"):
        verify_log(folder)
    path.write_text("".join([*lines, lines[-1].replace("11\t", "99\t", 1)]))
    with pytest.raises(UserError, match="1 rows are of images outside the certification: 99"):
        verify_log(folder)


def test_a_class_that_is_not_registered_is_not_guessed(certify):
    mine = type("Mine", (Cohen,), {})(20, 300, 0.001)
    with pytest.raises(UserError, match=r"the certifier '.*Mine' is not known here; the header names no plug-in"):
        verify_log(certify(mine))


def rewrite(folder, **changes):
    """Change an identity in a header, and the hash beside it."""
    header = json.loads((folder / "header.json").read_text())
    identity = header["identity"]
    for key, value in changes.items():
        if key == "certifier":
            identity[key] |= value
        else:
            identity[key] = value
    header["identity_hash"] = identity_hash(identity)
    (folder / "header.json").write_text(json.dumps(header))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"alpha": None}, "alpha is null, not a number between 0 and 1"),
        ({"alpha": 0.5, "certifier": {"alpha": 0.25}}, "certifier.alpha is 0.25 there, absent here"),
        ({"n0": None}, "n0 is None there, 100 here"),
        ({"alpha": "0.001"}, 'alpha is "0.001", not a number between 0 and 1'),
        ({"certifier": {"weight": "0.9"}}, "cannot be built from the options in the header"),
        ({"certifier": {"share": 0.5}}, "share is 0.5 there, absent here"),
        ({"certifier": {"weight": 2.0}}, "certifier.weight is 2.0"),
        ({"certifier": {"name": ["cohen"]}}, "certifier is .*, not a mapping with a name"),
        ({"certifier": {"name": "kohen"}}, "the certifier 'kohen' is not known here"),
        ({"n": 5}, "can never certify"),
        ({"sigma": -0.25}, "sigma is -0.25, not a number > 0 that"),
        ({"tau": "0"}, 'tau is "0", not a number >= 0'),
        ({"shape": None}, "shape is null, not three whole numbers"),
        ({"geometry": "antigravity.Geometry"}, "geometry 'antigravity.Geometry' is not known here"),
    ],
)
def test_a_header_of_which_no_certifier_follows_is_refused(certify, changes, words):
    folder = certify(CERTIFIERS["cohen"])
    rewrite(folder, **changes)
    with pytest.raises(UserError, match=words) as error:
        verify_log(folder)
    assert "\n" not in str(error.value)
    assert "antigravity" not in sys.modules


def test_a_header_that_lacks_a_key_or_an_option_is_refused(certify):
    folder = certify(CERTIFIERS["grid"])
    header = json.loads((folder / "header.json").read_text())
    for path, words in ((("certifier", "share"), "share is absent there, 0.1 here"), (("tau",), "header lacks tau")):
        identity = json.loads(json.dumps(header["identity"]))
        del (identity if len(path) == 1 else identity[path[0]])[path[-1]]
        changed = header | {"identity": identity, "identity_hash": identity_hash(identity)}
        (folder / "header.json").write_text(json.dumps(changed))
        with pytest.raises(UserError, match=words):
            verify_log(folder)


def test_columns_that_are_missing_or_stand_twice_are_refused(certify):
    folder = certify(CERTIFIERS["cohen"])
    header, shard = folder / "header.json", folder / "shard-000-of-001.tsv"
    before = header.read_text(), shard.read_text()
    for old, new, words in (("p_upper", "upper", "lacks the columns p_upper"), ("runner_up", "time", "lacks")):
        header.write_text(before[0].replace(f'"{old}"', f'"{new}"'))
        shard.write_text(before[1].replace(f"\t{old}\t", f"\t{new}\t"))
        with pytest.raises(UserError, match=words):
            verify_log(folder)
    content = json.loads(before[0])
    content["columns"].append("radius")
    header.write_text(json.dumps(content))
    first, *lines = before[1].splitlines()
    shard.write_text("\n".join([first + "\tradius", *[line + "\t9.0" for line in lines]]) + "\n")
    with pytest.raises(UserError, match="the columns 'radius' twice"):
        verify_log(folder)


@pytest.fixture
def registered():
    """Register certifiers for one test."""
    added = []

    def register(name, kind):
        REGISTRY.register(name)(kind)
        added.append(name)
        return kind

    yield register
    for name in added:
        del REGISTRY._obj_map[name]


def test_a_certifier_without_verification_is_refused_and_not_guessed(certify, registered):
    class Silent(Cohen):
        verify = Certifier.verify

    registered("silent", Silent)
    with pytest.raises(UserError, match="the certifier 'silent' does not define verify"):
        verify_log(certify(Silent(20, 300, 0.001)))


def test_a_plug_in_verifies_its_own_rows(certify, registered):
    class DislikesFive(Predict):
        """Sets n and alpha itself: the header has them, the constructor does not take them."""

        def __init__(self, boost=1):
            super().__init__(300, 0.001 * boost)

        def verify(self, row, case):
            return [*super().verify(row, case), *["is number 5"] * (row["idx"] == 5)]

    registered("dislikes_five", DislikesFive)
    folder = certify(DislikesFive(2))
    assert verify_log(folder) == (12, ["image 5: is number 5"])
    rewrite(folder, alpha=0.5)
    with pytest.raises(UserError, match=r"alpha is 0\.5 there, 0\.002 here"):
        verify_log(folder)


def test_a_plug_in_that_cannot_be_built_from_its_options_is_refused(certify, registered):
    class Boosted(Predict):
        def __init__(self, boost=1, **options):
            super().__init__(alpha=0.001 * boost, **options)

    registered("boosted", Boosted)
    with pytest.raises(UserError, match=r"'boosted' cannot be built from the options in the header: .*multiple values"):
        verify_log(certify(Boosted(2, n=300)))


def test_a_log_of_an_earlier_version_verifies():
    """Written before certifiers verified their own rows; images of three classes, sigma 0.25."""
    for folder in sorted((Path(__file__).parents[1] / "data" / "old_logs").iterdir()):
        assert verify_log(folder) == (12, []), folder


@pytest.mark.parametrize("label", [-1, 3, 99])
def test_a_label_of_no_class_is_no_claim_unless_it_is_correct(tmp_path, label):
    """Earlier versions certified images without a known class under the label -1."""
    old = Path(__file__).parents[1] / "data" / "old_logs" / "cohen-quantised_gaussian"
    folder = shutil.copytree(old, tmp_path / "log")
    shard = folder / "shard-000-of-001.tsv"
    first, *lines = [line.split("\t") for line in shard.read_text().splitlines()]
    for correct, number in (("0", 0), ("1", len(lines))):
        for line in lines:
            line[1], line[4] = str(label), correct
        shard.write_text("".join("\t".join(line) + "\n" for line in [first, *lines]))
        rows, problems = verify_log(folder)
        assert (rows, len(problems)) == (12, number)
        assert all("correct is 1 for class" in problem for problem in problems)


def test_a_restart_may_change_the_order_of_the_images(tmp_path):
    """A shard then holds more rows than it has positions, and two shards have rows of the same images."""
    pairs = [(torch.full((3, 4, 4), index / 6), index % 3) for index in range(6)]
    smoothed = SmoothedClassifier(torch.nn.Flatten(), 48, 0.25)
    for shard, order in (((0, 2), [0, 1, 2, 3, 4, 5]), ((0, 2), [1, 0, 3, 2, 5, 4]), ((1, 2), [0, 1, 2, 3, 4, 5])):
        smoothed.certify_dataset(pairs, 10, 100, 0.001, 64, out=tmp_path / "log", shard=shard, indices=order)
    assert verify_log(tmp_path / "log") == (6, [])
