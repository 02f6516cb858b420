"""Reads recipes, overrides and site profiles into a checked `RunConfig`, or says everything that is wrong with them.

Owns the file format (`extends`, `--set a.b=c`) and the search path. Does not own what a setting means (config.py), what
YAML says (reading.py), how settings lie over one another (layers.py), the wording of what is wrong with one
(mistakes.py) or which do not go together (refusals.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from selu_hpc.config import RunConfig
from selu_hpc.errors import ConfigError
from selu_hpc.recipes.layers import DEFAULT, Layers
from selu_hpc.recipes.mistakes import is_allowed, mistakes
from selu_hpc.recipes.reading import read_value, read_yaml
from selu_hpc.recipes.refusals import refusals
from selu_hpc.rounds.rundir import RunDir
from selu_hpc.settings import Settings
from selu_hpc.site import Site

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
AnySettings = TypeVar("AnySettings", bound=Settings)


def load_recipe(name: str, overrides: Sequence[str] = (), flags: Mapping[str, Any] | None = None) -> RunConfig:
    """The config of a recipe (a name in configs/ or a path), with `a.b=c` overrides and flags laid over it."""
    layers = Layers()
    # A section's own defaults are others than its place's: `resources.finetune` has four hours, any `Resources` one.
    layers.lay(RunConfig().plain(), DEFAULT)
    recipe = find_recipe(name)
    run = RunDir(recipe.parent)
    is_a_runs = recipe == run.config_file and run.provenance_file.exists()  # what that is can't be changed any more
    with _restorable(run) if is_a_runs else nullcontext():
        _lay_file(layers, recipe, seen=())
    problems = []
    for override in overrides:
        path, equals, text = override.partition("=")
        if not equals or not all(key.strip() for key in path.split(".")):
            problems.append(f"--set {override!r}: write it as section.key=value, for example --set env.horizon=20")
            continue
        path = path.strip()
        layers.lay(_nested(path, _read_override(path, text)), f"--set {override}")
    for name, value in (flags or {}).items():
        layers.lay({name: value}, f"--{name}")
    built = _build(RunConfig, layers, problems)
    if built.env.verbs:
        from selu_hpc.envs.goals import verbs_of

        try:
            verbs_of(built.env)  # a run is what its verbs are: a wrong one could not be mended later
        except ConfigError as error:
            raise ConfigError(f"{layers.source_of('env.verbs')}: {error}") from error
    unwise = refusals(built, layers.source_of, begun=is_a_runs)
    if wrong := [f"{layers.source_of(path)}: {path}: {why}" for path, why in unwise]:
        raise ConfigError("\n".join(wrong))
    return built


def load_run(run: str | Path) -> RunConfig:
    """The config a run folder was made with."""
    folder = RunDir(Path(run))
    with _restorable(folder):
        return load_settings(RunConfig, folder.config_file)


@contextmanager
def _restorable(run: RunDir) -> Iterator[None]:
    """What is wrong with a run's config.yaml is told with how to have it back."""
    try:
        yield
    except ConfigError as error:
        if not run.provenance_file.exists():
            raise
        raise ConfigError(f"{error}\n{run.how_to_restore}") from error


def load_site(name: str) -> Site:
    """A site profile by name (configs/sites/NAME.yaml) or path."""
    return load_settings(Site, _find(name, CONFIGS / "sites", "site profile"))


def load_settings(kind: type[AnySettings], file: Path) -> AnySettings:
    layers = Layers()
    layers.lay(read_yaml(file), str(file))
    return _build(kind, layers, [])


def find_recipe(name: str) -> Path:
    return _find(name, CONFIGS, "recipe")


def _find(name: str, shipped: Path, what: str) -> Path:
    """The file of that path, or of that name among those that come with the code."""
    by_path = name.endswith((".yaml", ".yml"))
    path = Path(name) if by_path else shipped / f"{name}.yaml"
    if path.is_file():
        return path
    if not by_path and Path(name).is_file():
        raise ConfigError(f"{what} {name!r}: a file's name must end in .yaml or .yml; rename it")
    if by_path or "/" in name:
        raise ConfigError(f"no {what} {name!r}: no such file; give one in .yaml or .yml, or a name: {_names(shipped)}")
    import difflib  # of what a mistake costs

    close = difflib.get_close_matches(name, [path.stem for path in shipped.glob("*.yaml")], n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    raise ConfigError(f"no {what} {name!r}; {hint}there are {_names(shipped)}; or give a file's path, in .yaml or .yml")


def to_yaml(settings: Settings) -> str:
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # the same text, five times as fast where libyaml is
    text: str = yaml.dump(settings.plain(), Dumper=dumper, sort_keys=False, allow_unicode=True)
    return text


def _lay_file(layers: Layers, path: Path, *, seen: tuple[Path, ...]) -> None:
    if any(path.samefile(one) for one in seen):
        raise ConfigError(f"{path}: extends itself by way of {', '.join(str(p) for p in seen)}")
    values = read_yaml(path)
    parent = values.pop("extends", None)
    if parent is not None:
        _lay_file(layers, _find_parent(str(parent), path), seen=(*seen, path))
    layers.lay(values, str(path))


def _find_parent(name: str, path: Path) -> Path:
    """The recipe beside `path`, or the shipped one: also where `path` has the shipped one's name."""
    by_path = name.endswith((".yaml", ".yml"))
    beside = path.parent / (name if by_path else f"{name}.yaml")
    if beside.is_file() and (by_path or not beside.samefile(path)):
        return beside
    return find_recipe(name)


def _read_override(path: str, text: str) -> Any:
    """The value as YAML, or the text itself where that is what the setting takes: `critic.hindsight=off`."""
    value = read_value(text)
    if value is None or isinstance(value, str):
        return value
    wanted = _type_at(path)
    return text if wanted and not is_allowed(value, wanted) and is_allowed(text, wanted) else value


def _type_at(path: str) -> Any:
    """A setting's type by its dotted path; None where there is no such setting."""
    wanted: Any = RunConfig
    for key in path.split("."):
        if not (isinstance(wanted, type) and issubclass(wanted, Settings)):
            return None
        wanted = next((one.type for one in msgspec.structs.fields(wanted) if one.name == key), None)
    return wanted


def _nested(path: str, value: Any) -> dict[str, Any]:
    for key in reversed(path.split(".")):
        value = {key: value}
    assert isinstance(value, dict)
    return value


def _build(kind: type[AnySettings], layers: Layers, problems: list[str]) -> AnySettings:
    try:
        built = kind.of(layers.values)
    except msgspec.ValidationError as error:
        found = list(mistakes(kind, layers.values, layers.source_of))
        problems = problems + (found or [f"{layers.source_of('')}: {error}"])
    if problems:
        raise ConfigError("\n".join(problems))
    return built


def _names(folder: Path) -> str:
    return ", ".join(sorted(p.stem for p in folder.glob("*.yaml"))) or "none"
