"""Reads recipes, overrides and site profiles into a checked `RunConfig`, or says everything that is wrong with them.

Owns the file format (`extends`, `--set a.b=c`) and the search path. Does not own what a setting means (config.py), what
YAML says (recipe_yaml.py) or the wording of what is wrong with it (recipe_mistakes.py).
"""

from __future__ import annotations

import argparse
import ast
import inspect
import itertools
import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from enum import EnumType
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from selu_hpc import config
from selu_hpc.config import (
    Backend,
    Learning,
    RunConfig,
    Settings,
    Simulator,
    deepspeed_mistakes,
)
from selu_hpc.errors import ConfigError
from selu_hpc.recipe_mistakes import is_allowed, mistakes
from selu_hpc.recipe_yaml import read_value, read_yaml
from selu_hpc.rounds.rundir import RunDir
from selu_hpc.site import Site

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
AnySettings = TypeVar("AnySettings", bound=Settings)
NAME = re.compile(r"[^./\x00-\x1f\x7f][^/\x00-\x1f\x7f]*")


@dataclass(slots=True)
class Layers:
    """Settings laid over one another, and where each came from."""

    values: dict[str, Any] = field(default_factory=dict)
    origin: dict[str, str] = field(default_factory=dict)

    def lay(self, values: Mapping[str, Any], source: str, *, under: tuple[str, ...] = ()) -> None:
        for key, value in values.items():
            path = (*under, str(key))
            if isinstance(value, Mapping) and value:
                self.lay(value, source, under=path)
            else:
                self._put(path, value, source)

    def _put(self, path: tuple[str, ...], value: Any, source: str) -> None:
        at = self.values
        for depth, key in enumerate(path[:-1], start=1):
            if not isinstance(at.get(key), dict):
                at[key] = {}
                self.origin[".".join(path[:depth])] = source
            at = at[key]
        if isinstance(value, Mapping) and isinstance(at.get(path[-1]), dict):
            return  # `section: {}` lays nothing over what is there
        at[path[-1]] = value
        self.origin[".".join(path)] = source

    def source_of(self, path: str) -> str:
        while path:
            if path in self.origin:
                return self.origin[path]
            below = next((source for known, source in self.origin.items() if known.startswith(path + ".")), None)
            if below:
                return below
            path = path.rpartition(".")[0]
        return "the combination of settings"


def load_recipe(name: str, overrides: Sequence[str] = (), flags: Mapping[str, Any] | None = None) -> RunConfig:
    """The config of a recipe (a name in configs/ or a path), with `a.b=c` overrides and flags laid over it."""
    layers = Layers()
    # A section's own defaults are others than its place's: `resources.finetune` has four hours, any `Resources` one.
    layers.lay(RunConfig().plain(), "a default")
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
    layers.lay(flags or {}, "a command-line flag")
    built = _build(RunConfig, layers, problems)
    if built.env.verbs:
        from selu_hpc.envs.goals import verbs_of

        verbs_of(built.env)  # a run is what its verbs are: a wrong one could not be mended later
    unwise = () if is_a_runs else (*_unnameable(built), *_unplayable(built), *_untrainable(built))
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
        raise ConfigError(f"{error}\n{how_to_restore(run)}") from error


def how_to_restore(run: RunDir) -> str:
    """What brings back a run's config.yaml, by the words of the submit that began it."""
    words, what = [], ", with --recipe, --set and --seed as the run was begun"
    with suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
        program, *given = json.loads(run.provenance_file.read_bytes())["command"]
        if program.endswith("submit.py"):
            named = {number for number, word in enumerate(given) if "--run" in (word, *given[:number][-1:])}
            words = [word for number, word in enumerate(given) if number not in named and word[:6] != "--run="]
            what = ""
    again = shlex.join(["python", "-m", "selu_hpc.submit", *words, "--print-config"])
    return f"restore it from a copy, or write it anew: `{again} > {shlex.quote(str(run.config_file))}`{what}"


def load_site(name: str) -> Site:
    """A site profile by name (configs/sites/NAME.yaml) or path."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else CONFIGS / "sites" / f"{name}.yaml"
    if not path.is_file():
        raise ConfigError(f"no site profile {name!r}; there are {_names(CONFIGS / 'sites')}; or give a file's path")
    return load_settings(Site, path)


def load_settings(kind: type[AnySettings], file: Path) -> AnySettings:
    layers = Layers()
    layers.lay(read_yaml(file), str(file))
    return _build(kind, layers, [])


def find_recipe(name: str) -> Path:
    path = Path(name) if name.endswith((".yaml", ".yml")) else CONFIGS / f"{name}.yaml"
    if not path.is_file():
        raise ConfigError(f"no recipe {name!r}; there are {_names(CONFIGS)}; or give a file's path")
    return path


def to_yaml(settings: Settings) -> str:
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # the same text, five times as fast where libyaml is
    text: str = yaml.dump(settings.plain(), Dumper=dumper, sort_keys=False, allow_unicode=True)
    return text


def schema() -> dict[str, Any]:
    """The recipe's JSON schema, for editors; kept in configs/schema.json by a test."""
    sections = msgspec.json.schema(RunConfig)["$defs"]
    described = _descriptions()
    for name, section in sections.items():
        if isinstance(kind := getattr(config, name), EnumType):
            choices: list[str] = list(kind)
            section |= {"type": "string", "enum": [str(one) for one in choices]}  # as written; msgspec sorts them
        if not section.get("required", True):
            del section["required"]
        for key, setting in section.get("properties", {}).items():
            if text := described.get(name, {}).get(key):
                setting["description"] = text
    run = sections.pop("RunConfig")
    extends = {"type": "string", "description": "A recipe this one is laid over."}
    return {**run, "properties": {"extends": extends, **run["properties"]}, "$defs": sections}


def _descriptions() -> dict[str, dict[str, str]]:
    """The docstring under each field of each class in config.py."""
    found: dict[str, dict[str, str]] = {}
    for section in ast.parse(inspect.getsource(config)).body:
        if isinstance(section, ast.ClassDef):
            for field_, text in itertools.pairwise(section.body):
                if isinstance(field_, ast.AnnAssign) and isinstance(field_.target, ast.Name):
                    match text:
                        case ast.Expr(ast.Constant(str() as words)):
                            found.setdefault(section.name, {})[field_.target.id] = inspect.cleandoc(words)
    return found


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any], under: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Every dotted key in which two nested settings differ, with both values."""
    for key in sorted({*ours, *theirs}):
        path = f"{under}.{key}" if under else key
        a, b = ours.get(key), theirs.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            yield from differences(a, b, path)
        elif a != b:
            yield path, a, b


def _unnameable(config: RunConfig) -> Iterator[tuple[str, str]]:
    """A folder's name is made with the recipe's."""
    if not NAME.fullmatch(config.recipe):
        found = json.dumps(config.recipe, ensure_ascii=False)
        yield "recipe", f"found {found}; allowed: a name without / and control characters that begins with no dot"


def _changed(config: RunConfig, *parts: str) -> Iterator[str]:
    """The settings of these parts that are not a plain run's."""
    for path, _, _ in differences(config.plain(), RunConfig().plain()):
        if any(path == part or path.startswith(f"{part}.") for part in parts):
            yield path


_FETCH = "docs/real-simulators.md says how to fetch a build"


def _unplayable(config: RunConfig) -> Iterator[tuple[str, str]]:
    """What no episode could be played with, or would be dropped without a word."""
    env = config.env
    for path in _changed(config, "game") if not config.plays_games else ():
        yield path, f"learning is {config.learning}, which plays no card games: add `--recipe rl4vlm`, or leave it out"
    if config.plays_games:
        for path in _changed(config, "env.simulator", "critic", "mix"):
            what = f"learning is {config.learning}, which plays card games without it: leave it out"
            yield path, f"{what} (a run that was begun with it goes on by --run alone)"
        return
    if config.learning is Learning.SCORING and config.model.server_url:
        yield (
            "model.server_url",
            "learning scoring weighs given answers, which a server does not tell; leave model.server_url empty",
        )
    critic = config.critic
    if critic.sure_yes > 0 and not critic.self_asking:
        yield (
            "critic.sure_yes",
            f"{critic.sure_yes} sends an unsure yes to self-asking, and critic.self_asking is false: set one of them "
            "(critic.sure_yes=0 takes every yes)",
        )
    if env.backend is Backend.STAND_IN:
        return
    if env.backend is Backend.CLOUD_RENDERING and env.simulator is Simulator.VIRTUALHOME:
        yield "env.backend", f"{env.backend} is AI2-THOR's; VirtualHome's build draws under X: set env.backend to xvfb"
    if not env.unity_releases:
        yield "env.backend", f"{env.backend} needs env.unity_releases; {_FETCH}"
    if not env.unity_commit and env.simulator is Simulator.THOR:
        yield "env.backend", f"{env.backend} needs env.unity_commit; {_FETCH}"


def _untrainable(config: RunConfig) -> Iterator[tuple[str, str]]:
    """Settings that fine-tuning would refuse after round 1 was paid for, with why; they are a run's identity, too."""
    if config.learning is Learning.ZERO_SHOT:
        return
    model, file = config.model, config.finetune.deepspeed
    if model.dtype == "float16":
        yield "model.dtype", 'found "float16"; fine-tuning is done in float32 or bfloat16: set one of them'
    try:
        re.compile(model.lora_targets)
    except (re.error, OverflowError, RecursionError) as error:
        what = f"found {model.lora_targets!r}, which is no regular expression: {error}"
        yield "model.lora_targets", f"{what}; write one such as '.*(q_proj|v_proj)'"
    try:
        settings = json.loads(Path(file).read_text(encoding="utf-8")) if file else {}
    except (OSError, ValueError, RecursionError) as error:
        if config.image != "none" and isinstance(error, OSError):
            return  # the image may have it
        yield "finetune.deepspeed", f"{file!r} cannot be read as JSON: {error}; give the path of a DeepSpeed JSON file"
    else:
        if file and not Path(file).is_absolute() and config.image == "none":  # in an image: containers/mounts.py
            yield "finetune.deepspeed", f"{file!r}: is another file in another folder; write {Path(file).absolute()}"
        if not isinstance(settings, dict):
            yield "finetune.deepspeed", f"{file!r} holds no JSON object, which DeepSpeed's settings are"
            return
        for what in deepspeed_mistakes(settings):
            yield "finetune.deepspeed", f"{file!r} {what}"


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


if __name__ == "__main__":
    argparse.ArgumentParser(
        prog="python -m selu_hpc.recipes", description="Write configs/schema.json anew, for editors (make schema)."
    ).parse_args()
    write = json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"
    (CONFIGS / "schema.json").write_text(write, encoding="utf-8")
