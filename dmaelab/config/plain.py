"""Plain trees: nested dicts and lists of text, numbers, bool and None, of which a config consists."""

import types
from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf, SCMode
from omegaconf.errors import InterpolationKeyError, MissingMandatoryValue, OmegaConfBaseException

from dmaelab.config.call import LazyCall
from dmaelab.config.targets import join
from dmaelab.utils.differences import Difference, differences
from dmaelab.utils.errors import ConfigError, did_you_mean

_SCALARS = (str, int, float, bool, type(None))
_NEEDS_NO_L = ("builtins", "collections", "datetime", "numpy", "pathlib")


def plain(value: Any, path: str = "") -> Any:
    """Return a copy that consists of dicts, lists, text, numbers, bool and None.

    Interpolations stay text, and tuples become lists.

    Raises:
        ConfigError: a value of another type. The message gives its key path and what to write instead.
    """
    if OmegaConf.is_config(value):
        # INSTANTIATE keeps dataclass objects, so that they are refused; otherwise omegaconf makes dicts of them.
        value = OmegaConf.to_container(value, resolve=False, structured_config_mode=SCMode.INSTANTIATE)
    if type(value) in _SCALARS:
        return value
    if type(value) in (list, tuple):
        return [plain(item, join(path, index)) for index, item in enumerate(value)]
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise ConfigError(f"{join(path, key)}: keys are text, write '{key}'")
        return {key: plain(item, join(path, key)) for key, item in value.items()}
    raise ConfigError(f"{path} {_complaint(value)}")


def _complaint(value: Any) -> str:
    kind = type(value)
    name = getattr(value, "__qualname__", kind.__qualname__)
    if isinstance(value, LazyCall):
        return f"is {value} without its arguments: write {value}()"
    if isinstance(value, type):
        return f"is the class {name}: write L({name})(...) to build one, or its dotted name as text to name it"
    if "<lambda>" in name:
        return "is a lambda: move it to an importable module and write its dotted name as text"
    if isinstance(value, (types.FunctionType, types.BuiltinFunctionType, types.MethodType)):
        return f"is the function {name}: write L({name})(...) to call it, or its dotted name as text to name it"
    if (kind.__module__, name) == ("torch", "dtype"):
        return f"is a torch dtype: write the text '{str(value).removeprefix('torch.')}'"
    if kind.__module__.partition(".")[0] in _NEEDS_NO_L:
        return f"is a {name}: a config holds text, numbers, bool, None, lists and dicts only"
    return f"is a {name} object: did you forget L? Write L({name})(...)"


def to_config(tree: Any) -> DictConfig:
    """Return the config of a plain tree."""
    try:
        cfg: DictConfig = OmegaConf.create(tree, flags={"allow_objects": True})
        return cfg
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key or 'config'}: {_first_line(error)}") from error


def interpolated(cfg: Any) -> Any:
    """Return the plain tree of a config or of one of its nodes, with every ``${...}`` replaced by its value.

    Raises:
        ConfigError: an interpolation refers to a key that does not exist, or a value is still ``???``.
    """
    if not OmegaConf.is_config(cfg):
        if not isinstance(cfg, (dict, list, tuple)):
            return cfg
        cfg = to_config(cfg)
    try:
        return _lists(OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True))
    except MissingMandatoryValue as error:
        raise ConfigError(f"{error.full_key}: is '???', give it a value") from error
    except InterpolationKeyError as error:
        wanted = str(error.msg).partition("'")[2].partition("'")[0]
        known = [path for path, _ in nodes(plain(cfg._get_root()))]
        raise ConfigError(f"{error.full_key}: ${{{wanted}}} refers to no key{did_you_mean(wanted, known)}") from error
    except (OmegaConfBaseException, RecursionError) as error:
        raise ConfigError(f"{getattr(error, 'full_key', '') or 'config'}: {_first_line(error)}") from error


def _lists(value: Any) -> Any:
    """Turn tuples into lists. omegaconf keeps tuples since version 2.4, but YAML cannot store them."""
    if isinstance(value, dict):
        return {key: _lists(item) for key, item in value.items()}
    return [_lists(item) for item in value] if isinstance(value, (list, tuple)) else value


def nodes(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield ``(key path, value)`` for each value below the root of a plain tree, parents before children."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield join(path, key), value
        yield from nodes(value, join(path, key))


def diff(a: Any, b: Any) -> list[Difference]:
    """Return the differences between two configs, comparing interpolations as text."""
    return differences(plain(a), plain(b))


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
