"""One thing is changed in an honest log: ``--verify`` reports it, or INVISIBLE says why no log can show it."""

import copy
import json
import random
import re

import pytest
from brightness import Brightness, image
from tampered_files import file_changes, header_changes
from tampering import SHARD, Copy, cell_changes, row_changes

from dmaelab.certifiers import Cohen, Predict, Sequential
from dmaelab.certifiers.report import counts_decide, report
from dmaelab.corruptions import build_corruption
from dmaelab.records.merge import identity_hash
from dmaelab.smoothing import Smoothing, certify_images

LOGS = {
    "cohen": (Cohen(20, 300, 0.001), "gaussian"),
    "cohen quantised": (Cohen(20, 300, 0.001), "quantised_gaussian"),
    "skipping": (Cohen(20, 300, 0.001, skip_wrong=True), "gaussian"),
    "grid": (Sequential(20, 2000, 0.001, radii=[0.0, 0.1, 0.2]), "gaussian"),
    "target": (Sequential(20, 2000, 0.001, mode="target", radii=[0.1]), "laplace"),
    "radius": (Sequential(20, 300, 0.001, mode="radius"), "uniform"),
    "predict": (Predict(300, 0.001), "gaussian"),
    "a user's": (None, "gaussian"),  # made by users_certifier
}


def users_certifier():
    """Return the certifier of a plug-in; the import registers it, which tests that are collected must not see."""
    from projects.speckle_demo.certifier import CohenTwoLooks

    return CohenTwoLooks(20, 1000, 0.001, n_first=200, target=0.1)


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """Return the copy of a log by name; each is made once."""
    made = {}

    def get(name):
        if name not in made:
            certifier, noise = LOGS[name]
            folder = tmp_path_factory.mktemp("honest") / "log"
            smoothing = Smoothing(Brightness(), build_corruption(noise, sigma=0.25), 3)
            certify_images(smoothing, image, range(12), certifier or users_certifier(), out=folder, progress=False)
            made[name] = Copy.read(folder)
        return copy.deepcopy(made[name])

    return get


def verdict(folder):
    """Return what is reported about a log, and "" for nothing. It must be lines that can be printed, of some length."""
    status, lines = report(folder, [counts_decide])
    assert all(line.isprintable() and len(line) < 3000 for line in lines)
    assert status == 0 or len(lines) > (status == 1)
    return "\n".join(lines) if status else ""


CHANGES = {
    "cohen": (cell_changes, row_changes, header_changes, file_changes),
    "cohen quantised": (row_changes, file_changes),
    "skipping": (cell_changes, row_changes),
    "grid": (row_changes, header_changes),
    "target": (row_changes,),
    "radius": (row_changes,),
    "predict": (cell_changes, row_changes, header_changes),
    "a user's": (row_changes,),
}

INVISIBLE = {
    r".*: time of another run": "nothing follows from the time",
    r".*: label flipped": "a wrong answer or an abstention has the same cells for all other labels: --data shows it",
    r"skipped: another class": "which wrong class was selected stands nowhere else: --resample shows it",
    r".*: runner_up the last class": "the counts of the other classes are not in the log",
    r".*: count_b (more|less)": "no claim of this certifier depends on count_b, and other classes may have the votes",
    r".*: two-sided (zero|lowered)": "a smaller claim",
    r".*: p_lower zero": "a smaller claim, of a row that abstains",
    r".*: p_upper raised": "a smaller claim, of a row without a two-sided radius",
    r".*: both radii lowered": "a smaller claim; this certifier does not check that its radius is the largest",
    r"answer: abstains( without (any )?radius)?": "a smaller claim; PREDICT has no radius that would contradict it",
    r".*: radius_full: minus": "-0.0 equals 0.0",
    r"answer: stopped as decided": "earlier looks may have given up a radius: their counts are not in the log",
    r"header: tau: zero.*": "0 equals 0.0",
    r"header: alpha: (larger|smaller).*": "the claims follow from the counts at the other level, too",
    r"header: sigma: (larger|smaller|one and a half|number).*": "rows without a radius do not depend on sigma",
    r"header: classes: (more|number|huge).*": "nobody voted for the further classes: --data shows it",
    r"header: seed: .*": "the noise is not in the log: --resample shows it",
    r"header: (weights|first_image|noise): other.*": "weights, images and noise are not in the log: --data, --resample",
    r"header: (network|precision|noise|corruption\.name): (text|as a number|bf16|uniform|gaussian).*": (
        "how the classifier and its noise were computed is not in the log: --resample shows it"
    ),
    r"header: (compile|channels_last|batch_shape): (true|blocks|other batch).*": (
        "how the classifier was computed is not in the log: --resample shows it"
    ),
    r"header: certifier\.(growth|futility|radii): (near one|other).*": (
        "when it looked and gave up is not in the log, and no bound depends on it"
    ),
    r"header: context: mapping|header with (another context|a note|a note in the identity)": "no row depends on it",
    r"a second shard, (all rows|one equal row|empty|columns only)|two shards(, uneven|, overlapping)?": (
        "a restart may change the number of shards and the order of the images"
    ),
    r"shard renamed to 0 of 2": "a restart may change the number of shards and the order of the images",
    r".*: label( outside|: large|: huge|: minus|: minus one)": (
        "labels that are no class claim nothing; logs of earlier versions have -1"
    ),
    r"shard with text after the last line": "a killed process leaves an incomplete last line",
    r"rows in another order": "rows stand in the order in which images were done",
    r"rows of two images swapped": "counts do not show of which image they are: --resample shows it",
    r"image (omitted|renamed)": "the images were chosen by whoever certified: compare the list in the header",
    r"another file": "readers ignore it",
}
"""Name of a change -> the reason why no log can show it. All other changes must be reported."""


def test_what_is_changed_in_a_log_is_reported_or_known_to_be_invisible(honest, tmp_path):
    escaped, tried = set(), 0
    for name, generators in CHANGES.items():
        log = honest(name)
        assert verdict(log.write(tmp_path / "log")) == "", name
        found = set()
        changes = [change for generator in generators for change in generator(log)]
        for what, change in changes:
            changed = copy.deepcopy(log)
            change(changed)
            if not verdict(changed.write(tmp_path / "log")):
                found.add(what)
        print(f"{name}: {len(changes)} changes, {len(changes) - len(found)} reported, {len(found)} invisible")
        escaped, tried = escaped | found, tried + len(changes)
    missed = {what for what in escaped if not any(re.fullmatch(pattern, what) for pattern in INVISIBLE)}
    assert not missed
    assert tried > 189
    idle = [pattern for pattern in INVISIBLE if not any(re.fullmatch(pattern, what) for what in escaped)]
    assert not idle, "these changes are reported after all"


@pytest.mark.parametrize(
    ("name", "way", "words"),
    [
        ("cohen", "answer: top and answer = runner_up", "its runner-up is the selected class 1 itself"),
        ("cohen", "answer: bounds missing", "p_lower is too large"),
        ("cohen", "answer: two-sided missing", "radius_two_sided is nan, from the counts follows 0."),
        ("cohen", "answer: stopped for no reason", "stop_reason is 'because', which is none of n, wrong_class"),
        ("cohen", "answer: stopped as certified", "stop_reason is 'certified', which is none of n, wrong_class"),
        ("cohen", "answer: time in another form", "time is '0:00:01', not a number >= 0 with 6 decimals"),
        ("cohen", "answer: idx: zero before", "is damaged: idx is '00', the writer spells it '0'"),
        ("cohen", "answer: count_a: decimals", "not a whole number, at least 0, or nan"),
        ("cohen", "answer: label: other digits", "label is '\\u0660', the writer spells it '0'"),
        ("cohen", "answer: p_lower: plus", "the writer spells it"),
        ("cohen", "answer: idx: space before", "line 2: damaged, repeated or not a row of a log"),
        ("cohen", "answer: p_lower lowered", "radius_full is not the radius of its p_lower, which is 0.006"),
        ("grid", "answer: stopped at n", "it would not have stopped after 125 samples as 'n'"),
        ("grid", "abstention: stopped as certified", "it would not have stopped after 100 samples as 'certified'"),
        ("radius", "answer: stopped as certified", "it would not have stopped after 300 samples as 'certified'"),
        ("skipping", "skipped: n more", "was skipped for its class, but claims something"),
        ("predict", "answer: counts swapped", "its top class has fewer votes than the runner-up"),
        ("a user's", "answer: stopped for no reason", "which is none of first_look, n"),
        ("cohen", "header: sigma: true, hash redone", "header.json is damaged: sigma is true, not a number > 0"),
        ("cohen", "header: n: as a number, hash redone", "header.json is damaged: n is 300.0, not a whole number"),
        ("cohen", "header: certifier.weight: removed, hash redone", "certifier.weight is absent there, 0.9 here"),
        ("cohen", "header: columns: null", "identity and context should be mappings, columns a list"),
        ("cohen", "header: weights: removed, hash redone", "the identity in the header lacks weights"),
        ("grid", "header: certifier.growth: text, hash redone", "cannot be built from the options in the header"),
        ("cohen", "header with two sigmas", "is damaged: it has the key 'sigma' twice"),
        ("cohen", "header with NaN", "it holds a number that is not finite"),
        ("cohen", "header deep inside", "it is nested more than 50 levels deep"),
        ("cohen", "header deep", "header.json is damaged: it is not JSON"),
        ("cohen", "header with BOM", "header.json is damaged: it is not JSON"),
        ("cohen", "header with CRLF", r"header.json, line 1: holds the character '\r', which no log has"),
        ("cohen", "header a folder", "is not a certification log: it is not a folder with a header.json"),
        ("cohen", "shard with CRLF", r"line 1: holds the character '\r', which no log has"),
        ("cohen", "shard with NUL", r"line 1: holds the character '\x00', which no log has"),
        ("cohen", "shard a pipe", "is not a file with the rows of a shard: remove it"),
        ("cohen", "shard renamed to 5 of 3", "'shard-005-of-003.tsv' is not the name of a shard"),
        ("cohen", "columns swapped", "has other columns than its certifier writes, which are idx, label, predict"),
        ("cohen", "a column more", "has other columns than its certifier writes"),
        ("cohen", "images beyond memory", "is not a list of image indices"),
        ("cohen", "images listed twice", "the list of images in header.json is not written as '0:12'"),
    ],
)
def test_the_line_says_what_is_wrong(honest, tmp_path, name, way, words):
    log = honest(name)
    changes = {what: change for generator in (cell_changes, row_changes, header_changes, file_changes)
               for what, change in generator(log)}  # fmt: skip
    changes[way](log)
    assert words in verdict(log.write(tmp_path / "log"))


def test_random_changes_of_bytes_give_lines_and_no_traceback(honest, tmp_path):
    """Bytes are replaced, removed, inserted or doubled; some of them by characters that mean something in a log."""
    rng, marks = random.Random(0), b'0123456789.-+eE"{}[],:\t\n\r /\0\xff\\nNaninf'
    reported = 0
    for attempt in range(600):
        log = honest(rng.choice(["cohen", "grid", "predict"]))
        name, content = rng.choice([("header.json", log.text()), (SHARD, log.shard())])
        for _ in range(rng.choice([1, 1, 2, 8])):
            place, length = rng.randrange(len(content)), rng.choice([0, 1, 1, 5])
            new = bytes(rng.choice(marks) for _ in range(rng.choice([0, 1, 1, 3])))
            content = content[:place] + new + content[place + length :]
        changed = json.loads(content) if name == "header.json" and attempt % 2 and is_json(content) else None
        if isinstance(changed, dict) and isinstance(changed.get("identity"), dict):
            log.header = changed  # with a hash that fits, so that the checks behind the hash are reached
            log.redo_hash()
        else:
            log.files[name] = content
        reported += verdict(log.write(tmp_path / "log")) != ""
    print(f"{reported} of 600 random changes were reported")
    assert reported > 400


def is_json(content):
    try:
        identity_hash(json.loads(content))
    except (ValueError, UnicodeDecodeError):
        return False
    return True
