import config_toolbox as toolbox
import pytest

from dmaelab.config import LazyCall as L
from dmaelab.config import LazyConfig
from dmaelab.config.overrides import parse
from dmaelab.utils.errors import ConfigError


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("1", 1), ("-1", -1), ("1e-3", 1e-3), ("1e5", 100000.0), ("True", True), ("true", True), ("false", False),
        ("null", None),
        ("none", None), ("None", None), ("'none'", "none"), ("None1", "None1"), ("abc", "abc"), ("", ""),
        ("a=b", "a=b"),
        ("1,2", [1, 2]),
        ("(0.9,0.95)", [0.9, 0.95]), ("[1, 'a']", [1, "a"]), ("{'a': (1,)}", {"a": [1]}), ("[a,b]", "[a,b]"),
        ("007", "007"),
        ("/a/b=c.pth", "/a/b=c.pth"), ("out (1)/x", "out (1)/x"), ("{1, 2}", "{1, 2}"), ("b'x'", "b'x'"),
        ("1j", "1j"), ("{1: 2}", "{1: 2}"), ("'\\d'", "\\d"), ("${train.lr}", "${train.lr}"),
    ],
)  # fmt: skip
def test_value_grammar(raw, value):
    assert parse(raw) == value
    assert type(parse(raw)) is type(value)


@pytest.fixture
def cfg():
    return LazyConfig.apply_overrides(
        {
            "train": {
                "max_iter": 100,
                "lr": 0.1,
                "amp": False,
                "out": "runs/x",
                "clip": None,
                "steps": [1, 2],
                "half": "${train.lr}",
            },
            "model": L(toolbox.Model)(
                depth=2, noise=L(toolbox.build_noise)(name="normal", sigma=0.25), name=None, pool="gap", flag=True
            ),
            "empty": {},
        },
        [],
    )


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("train.max_iter=1e5", "train.max_iter", 100000),
        ("train.lr=1", "train.lr", 1.0),
        ("train.half=2", "train.half", 2.0),
        ("train.amp=true", "train.amp", True),
        ("train.out=2024", "train.out", "2024"),
        ("train.out=a=b", "train.out", "a=b"),
        ("train.out = a", "train.out", "a"),
        ("+model.old_style=1e3", "model.old_style", 1000),
        ("train.clip=1", "train.clip", 1),
        ("train.clip=abc", "train.clip", "abc"),
        ("train.steps=(3,)", "train.steps", [3]),
        ("train.steps.0=5", "train.steps.0", 5),
        ("+train.steps.2=5", "train.steps", [1, 2, 5]),
        ("~train.steps.0", "train.steps", [2]),
        ("train.lr=${train.max_iter}", "train.lr", 100),
        ("train={'lr': 3}", "train", {"lr": 3}),
        ("+train.new=none", "train.new", None),
        ("+fresh={'a': 1}", "fresh", {"a": 1}),
        ("+empty.a=1", "empty", {"a": 1}),
        ("~train.clip", "train.clip", None),
        ("model.noise.sigma=(0.0, 0.5)", "model.noise.sigma", [0.0, 0.5]),
        ("model.noise=none", "model.noise", None),
        (
            "model.noise.name=salt",
            "model.noise",
            {"_target_": "config_toolbox.build_noise", "name": "salt", "sigma": 0.25},
        ),
        ("model.name=12", "model.name", "12"),
        ("model.depth=3.0", "model.depth", 3),
    ],
)
def test_applied(cfg, override, key, value):
    before = LazyConfig.apply_overrides(cfg, [])
    changed = LazyConfig.apply_overrides(cfg, [override])
    node = changed
    for part in key.split("."):
        node = node[int(part)] if part.isdecimal() else node.get(part)
    assert node == value
    assert type(node) is type(value) or isinstance(value, (list, dict))
    assert cfg == before


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("--train.lr=1", "--train.lr=1: write 'train.lr=1', without dashes"),
        ("train.lr", "train.lr: write key=value to change, +key=value to add, ~key to delete"),
        ("~train.lr=1", "~train.lr=1: write key=value to change, +key=value to add, ~key to delete"),
        ("", "'': write key=value to change, +key=value to add, ~key to delete"),
        ("train.max_itr=5", "train.max_itr: no such key (did you mean 'max_iter'?); write '+train.max_itr=5' to add"
                            " it"),
        ("trian.lr=5", "trian: no such key (did you mean 'train'?)"),
        ("~train.zzz", "train.zzz: no such key; there are: max_iter, lr, amp, out, clip, steps, half"),
        ("+train.lr=5", "train.lr: exists already, write 'train.lr=5' to change it"),
        ("~empty.a", "empty.a: no such key; there are: none"),
        ("+model.rate=fast", "model.rate: expects float; 'fast' is text"),
        ("+a.b=5", "a: no such key; there are: train, model, empty"),
        ("train.lr=abc", "train.lr is 0.1 (float); 'abc' is text"),
        ("train.lr=1,2", "train.lr is 0.1 (float); '1,2' is list"),
        ("train.half=abc", "train.half is 0.1 (float); 'abc' is text"),
        ("train.max_iter=1.5", "train.max_iter is 100 (int); '1.5' is float"),
        ("train.max_iter=true", "train.max_iter is 100 (int); 'true' is bool"),
        ("train.max_iter=none", "train.max_iter is 100 (int); 'none' is None"),
        ("train.amp=1", "train.amp is False (bool); '1' is int, write true or false"),
        ("train.out=none", "train.out is 'runs/x' (text); 'none' is None"),
        ("train.steps=a,b", "train.steps is [1, 2] (list); 'a,b' is text, write a list such as ['a', 'b']"),
        ("train.steps.2=1", "train.steps.2: no such item, the list has 2 (counted from 0); write '+train.steps.2=1'"
                            " to add it"),
        ("+train.steps.5=1", "+train.steps.5: the next item of the list is 2"),
        ("+train.=1", "+train.: the key is empty"),
        ("train=5", "train is {'max_iter': 100, 'lr': 0.1, 'amp': False, 'out': 'runs/x', 'clip': None, 'steps': [1,"
                    " 2], "
                    "'half': '${train.lr}'} (dict); '5' is int"),
        ("train.lr.x=5", "train.lr.x: train.lr is 0.1 (float) and has no keys"),
        ("train.half.x=5", "train.half.x: train.half is the interpolation '${train.lr}', override what it refers to"),
        ("model.noise.sigma=abc", "model.noise.sigma: expects float | tuple[float, float]; 'abc' is text"),
        ("model.noise.sigma=(1,2,3)", "model.noise.sigma: expects float | tuple[float, float]; '(1,2,3)' is list"),
        ("model.pool=max", "model.pool: expects Literal['gap', 'cls']; 'max' is text"),
        ("model.flag=none", "model.flag: expects bool; 'none' is None"),
        ("model.noise=5", "model.noise: expects config_toolbox.Normal | config_toolbox.Salt | None; '5' is int"),
    ],
)  # fmt: skip
def test_refused(cfg, override, message):
    with pytest.raises(ConfigError) as error:
        LazyConfig.apply_overrides(cfg, [override])
    assert str(error.value) == message


def test_sections_give_annotations(cfg):
    changed = LazyConfig.apply_overrides(
        {"train": {"max_iter": 1, "clip": 1.0}}, ["train.clip=none"], sections={"train": toolbox.Settings}
    )
    assert changed.train.clip is None
    with pytest.raises(ConfigError, match=r"^train\.clip: expects float \| None; 'abc' is text$"):
        LazyConfig.apply_overrides(changed, ["train.clip=abc"], sections={"train": toolbox.Settings})


def test_a_missing_section_is_like_an_empty_one():
    def change(*overrides):
        return LazyConfig.apply_overrides({"other": 1}, overrides, sections={"train": toolbox.Settings})

    assert change("train.max_iter=3", "train.clip=none") == {"other": 1, "train": {"max_iter": 3, "clip": None}}
    assert change("+train.max_iter=3", "~train.max_iter") == {"other": 1, "train": {}}
    for override, message in {
        "train.max_itr=3": r"train\.max_itr: no such key \(did you mean 'max_iter'\?\)",
        "train.max_iter=many": r"train\.max_iter: expects int; 'many' is text",
        "~train.max_iter": r"train\.max_iter: no such key",
        "trian.max_iter=3": r"trian: no such key",
    }.items():
        with pytest.raises(ConfigError, match=f"^{message}"):
            change(override)


def test_overrides_apply_in_order_and_a_broken_target_can_be_mended(cfg):
    changed = LazyConfig.apply_overrides(
        cfg, ["model.noise.name=slat", "model.noise.name=salt", "~model.noise.sigma", "+model.noise.share=1"]
    )
    assert changed.model.noise == {"_target_": "config_toolbox.build_noise", "name": "salt", "share": 1}
