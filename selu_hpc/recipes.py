"""Reads recipes, overrides and site profiles into a checked `RunConfig`, or says everything that is wrong with them.

Owns the file format (`extends`, `--set a.b=c`), the search path and the wording of config errors.
Does not own what a setting means (config.py).
"""

from __future__ import annotations

import argparse
import ast
import inspect
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import EnumType
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import msgspec
import yaml

from selu_hpc import config
from selu_hpc.config import (
    DEEPSPEED_OURS,
    Backend,
    GameConfig,
    Learning,
    RunConfig,
    Settings,
    Simulator,
    misfit,
)
from selu_hpc.errors import ConfigError
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
    _lay_file(layers, recipe, seen=())
    problems = []
    for override in overrides:
        path, equals, text = override.partition("=")
        if not equals or not path.strip():
            problems.append(f"--set {override!r}: write it as section.key=value, for example --set env.horizon=20")
            continue
        path = path.strip()
        layers.lay(_nested(path, _read_override(path, text)), f"--set {override}")
    layers.lay(flags or {}, "a command-line flag")
    built = _build(RunConfig, layers, problems)
    if built.env.verbs:
        from selu_hpc.envs.goals import verbs_of

        verbs_of(built.env)  # a run is what its verbs are: a wrong one could not be mended later
    run = RunDir(recipe.parent)
    is_a_runs = recipe == run.config_file and run.provenance_file.exists()  # what that is can't be changed any more
    unwise = () if is_a_runs else (*_unnameable(built), *_unplayable(built), *_untrainable(built))
    if wrong := [f"{layers.source_of(path)}: {path}: {why}" for path, why in unwise]:
        raise ConfigError("\n".join(wrong))
    return built


def load_run(run: str | Path) -> RunConfig:
    """The config a run folder was made with."""
    file = RunDir(Path(run)).config_file
    return load_settings(RunConfig, file)


def load_site(name: str) -> Site:
    """A site profile by name (configs/sites/NAME.yaml) or path."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else CONFIGS / "sites" / f"{name}.yaml"
    if not path.is_file():
        raise ConfigError(f"no site profile {name!r}; there are {_names(CONFIGS / 'sites')}; or give a file's path")
    return load_settings(Site, path)


def load_settings(kind: type[AnySettings], file: Path) -> AnySettings:
    layers = Layers()
    layers.lay(_read_yaml(file), str(file))
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


_FETCH = "docs/real-simulators.md says how to fetch a build"


def _unplayable(config: RunConfig) -> Iterator[tuple[str, str]]:
    """What no episode could be played with, or would be dropped without a word."""
    env = config.env
    if not config.plays_games and config.game != GameConfig():
        yield (
            "game",
            f"learning is {config.learning}, which plays no card games: add `--recipe rl4vlm`, or leave it out",
        )
    if config.plays_games or env.backend is Backend.STAND_IN:
        return
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
        if not isinstance(settings, dict):
            yield "finetune.deepspeed", f"{file!r} holds no JSON object, which DeepSpeed's settings are"
            return
        for key in sorted(DEEPSPEED_OURS.keys() & settings):
            yield "finetune.deepspeed", f"{file!r} says {key}, which {DEEPSPEED_OURS[key]} decides; remove it there"


def _lay_file(layers: Layers, path: Path, *, seen: tuple[Path, ...]) -> None:
    if any(path.samefile(one) for one in seen):
        raise ConfigError(f"{path}: extends itself by way of {', '.join(str(p) for p in seen)}")
    values = _read_yaml(path)
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


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        loaded = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:  # a date that is none, a list for a key
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise ConfigError(f"{path}: found a {type(loaded).__name__} at the top; write `section:` and its keys below")
    return loaded


class _Loader(yaml.SafeLoader):
    """YAML that refuses a key given twice and a value that holds itself, and takes for text what YAML 1.1 reads in base
    60 (`1:30:00`) or base 8 (`020`)."""

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
        tag: str = super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]  # its stubs say nothing
        number = value.lstrip("+-") if tag.endswith((":int", ":float")) else ""
        if ":" in number or (number[:1] == "0" and number[1:2] not in ("", ".", "b", "x")):
            return str(self.DEFAULT_SCALAR_TAG)
        return tag

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if node in self.recursive_objects:
            raise yaml.constructor.ConstructorError(None, None, "a value refers to itself", node.start_mark)
        return super().construct_object(node, deep=True)  # whole at once: what is begun later can't be seen in itself

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is given twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def _read_override(path: str, text: str) -> Any:
    """The value as YAML, or the text itself where that is what the setting takes: `critic.hindsight=off`."""
    value = _read_value(text)
    if value is None or isinstance(value, str):
        return value
    wanted = _type_at(path)
    return text if wanted and not _is_allowed(value, wanted) and _is_allowed(text, wanted) else value


def _read_value(text: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader) if text else ""
    except (yaml.YAMLError, ValueError, TypeError, RecursionError):
        return text


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
        found = list(_mistakes(kind, layers.values, layers))
        problems = problems + (found or [f"{layers.source_of('')}: {error}"])
    if problems:
        raise ConfigError("\n".join(problems))
    return built


def _mistakes(kind: type[Settings], values: Mapping[str, Any], layers: Layers, under: str = "") -> Iterator[str]:
    """Everything that is wrong with a section's keys and values one by one; msgspec itself stops at the first."""
    import difflib  # five milliseconds that only mistakes cost

    fields = {one.name: one for one in msgspec.structs.fields(kind)}
    for key in values:
        if key not in fields:
            close = difflib.get_close_matches(key, fields, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            path = under + key
            yield f"{layers.source_of(path)}: {path}: unknown key; {hint}allowed here: {', '.join(fields)}"
    for name, one in fields.items():
        if name in values:
            yield from _mistakes_of_value(one.type, values[name], layers, under + name)
        elif one.required:
            yield f"{layers.source_of(under + name)}: {under}{name}: found nothing; it has to be given"


def _mistakes_of_value(wanted: Any, value: Any, layers: Layers, path: str) -> Iterator[str]:
    kind, inner = get_origin(wanted), get_args(wanted)
    if isinstance(value, Mapping) and isinstance(wanted, type) and issubclass(wanted, Settings):
        yield from _mistakes(wanted, value, layers, f"{path}.")
    elif isinstance(value, Mapping) and kind is dict:
        for key, one in value.items():
            yield from _mistakes_of_value(inner[0], key, layers, f"{path}.{key}")
            yield from _mistakes_of_value(inner[1], one, layers, f"{path}.{key}")
    elif isinstance(value, list) and kind is tuple:
        for number, one in enumerate(value):
            yield from _mistakes_of_value(inner[0], one, layers, f"{path}.{number}")
    elif not _is_allowed(value, wanted):
        found = _as_found(value).encode(errors="backslashreplace").decode()
        hint = _hint(value, wanted)
        yield f"{layers.source_of(path)}: {path}: found {found[:200]}; allowed: {_in_words(wanted)}{hint}"


def _as_found(value: Any) -> str:
    try:
        return json.dumps(value, default=str, ensure_ascii=False)
    except TypeError:  # a date for a key
        return str(value)


def _hint(value: Any, wanted: Any) -> str:
    """What YAML made of the words that were meant, or what is wrong beside the type."""
    if isinstance(value, int | str) and (why := misfit(value)):
        return f"; it {why}"
    words: tuple[str, ...] = ()
    if isinstance(value, bool):
        words = ("on", "yes", "true") if value else ("off", "no", "false")
    elif isinstance(value, int | float | date):
        words = (str(value),)
    meant = next((word for word in words if _is_allowed(word, wanted)), "")
    if not meant:
        return ""
    return f"; write {meant!r} with its quotes" if isinstance(wanted, EnumType) else "; put it in quotes"


def _is_allowed(value: Any, wanted: Any) -> bool:
    try:
        made = msgspec.convert(value, wanted, strict=False)
    except msgspec.ValidationError:
        return False
    return not misfit(made)


def _in_words(wanted: Any) -> str:
    """What may stand there, for one who writes YAML."""
    kind, inner = get_origin(wanted), get_args(wanted)
    if kind is Annotated:
        meta = inner[1]
        if meta.description:
            return str(meta.description)
        limits = ((">", meta.gt), (">=", meta.ge), ("<", meta.lt), ("<=", meta.le))
        bounds = " and ".join(f"{sign} {limit:g}" for sign, limit in limits if limit is not None)
        return f"{_in_words(inner[0])} {bounds}"
    if kind is Literal or isinstance(wanted, EnumType):
        *most, last = (repr(choice) for choice in inner or [member.value for member in list[Any](wanted)])
        return f"{', '.join(most)} or {last}"
    if kind is tuple:
        return f"a list, each of it {_in_words(inner[0])}"
    if kind is UnionType:
        return " or ".join(_in_words(one) for one in inner)
    return {int: "a whole number", float: "a finite number", bool: "true or false", str: "text"}.get(
        wanted, "keys and values"
    )


def _names(folder: Path) -> str:
    return ", ".join(sorted(p.stem for p in folder.glob("*.yaml"))) or "none"


if __name__ == "__main__":
    argparse.ArgumentParser(
        prog="python -m selu_hpc.recipes", description="Write configs/schema.json anew, for editors (make schema)."
    ).parse_args()
    write = json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"
    (CONFIGS / "schema.json").write_text(write, encoding="utf-8")
