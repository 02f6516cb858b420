"""What of the host a stage sees in its image: the run folder, a site's mounts and the hub cache.

Owns how a mount is written, what it may not cover, and which folders of a config would not be seen. Starts nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from selu_hpc.errors import ConfigError, ImageError

CODE = ("/opt/selu_hpc", "/opt/venv")
"""The image's own code: what is laid over it, or over a folder above it, runs in its place."""
OWN = Path("/opt")
"""Where an image brings its code, the stand-in and Unity builds; a folder there is not looked for on the host."""
SHOWN = (("configs",),)
"""What of a checkout an image has as well, where its stages begin."""
HUB = ("HF_HOME", "HF_HUB_CACHE")
BINDS = tuple(f"{prefix}_{name}" for prefix in ("APPTAINER", "SINGULARITY") for name in ("BIND", "BINDPATH", "MOUNT"))
"""Variables by which a site's modules bind folders into every image."""


@dataclass(frozen=True, slots=True)
class Mount:
    """`Mount.parse("/data:/mnt/data:ro")`."""

    source: str
    target: str
    read_only: bool = False

    @classmethod
    def parse(cls, text: str) -> Mount:
        """`source`, `source:target` or `source:target:ro`; raises ConfigError for anything else."""
        source, *rest = text.split(":")
        target, *options = rest or [source]
        if not (source.startswith("/") and target.startswith("/")) or options not in ([], ["ro"]):
            raise ConfigError(
                f"{text!r} is no mount: write source, source:target or source:target:ro, with whole paths "
                f"({source or '/data'}:{source or '/data'}:ro for a folder that stages only read)"
            )
        mount = cls(source, target, read_only=bool(options))
        if covers_code(target):
            raise ConfigError(
                f"{text!r} would cover the image's own code ({', '.join(CODE)}); choose another target, or run a "
                "checkout by `submit --working-copy DIR`"
            )
        return mount

    @property
    def words(self) -> list[str]:
        """`--mount` takes CSV, so paths with commas and quotes pass, which `--bind` cannot."""
        fields = ["type=bind", f"source={self.source}", f"destination={self.target}"]
        fields += ["ro"] if self.read_only else []
        return ["--mount", ",".join(map(quoted, fields))]


def quoted(field: str) -> str:
    """A field of the CSV that some of Apptainer's options take."""
    return '"' + field.replace('"', '""') + '"' if set(field) & set(',"\n') else field


def covers_code(target: str) -> bool:
    """Whether something mounted there lies over the image's code."""
    path = Path(os.path.normpath(target).replace("//", "/"))  # two slashes at the front, which POSIX lets stand
    return any(path.is_relative_to(code) or Path(code).is_relative_to(path) for code in CODE)


def hub_folders(environment: Mapping[str, str]) -> list[str]:
    """Where the environment says that the hub cache lies, as far as it is on this machine."""
    named = [environment.get(name, "") for name in HUB]
    return [folder for folder in named if Path(folder).is_absolute() and Path(folder).is_dir()]


def hub_mounts(environment: Mapping[str, str], *, run: Path, mounts: Sequence[str]) -> list[Mount]:
    """The hub cache, to read only, where nothing else shows it already."""
    found: list[Mount] = []
    for folder in hub_folders(environment):
        if not _is_shown(folder, [*_shown(run, mounts), *found]):
            found.append(Mount(folder, folder, read_only=True))
    return found


_FIELDS = frozenset(
    ["type", "source", "src", "destination", "dst", "target", "ro", "image-src", "id", "bind-propagation"]
)
"""Of a `--mount`; other words before a "=" are a relative folder's name."""


def require_code_uncovered(environment: Mapping[str, str]) -> dict[str, str]:
    """What the environment binds into every image, by variable; refused where it lies over the image's code."""
    found = {name: environment[name] for name in BINDS if environment.get(name)}
    for name, value in found.items():
        targets = [target for one in re.split(r"[,\n]", value) for target in _targets(one)]
        if covering := [target for target in targets if covers_code(target)]:
            raise ImageError(
                f"{name}={value} lays {covering[0]} over the image's own code ({', '.join(CODE)}), so that what runs "
                "would not be what its digest names: unset it (`module list` says what set it), or run a checkout by "
                "`submit --working-copy DIR`"
            )
    return found


def _targets(field: str) -> list[str]:
    """Of one part of a bind variable: `source:target:options`, or a field of a `--mount`; those stand one a line."""
    key, is_field, value = field.strip().strip('"').partition("=")
    if is_field and key in _FIELDS:
        return [value] if key in ("destination", "dst", "target") else []
    source, *rest = field.strip().split(":")
    return [rest[0] if rest and rest[0] else source] if source else []


def require_shown(paths: Mapping[str, str], *, run: Path | None, mounts: Sequence[str]) -> None:
    """Refuse a config whose files and folders (by setting) are on this host and would not be seen in the image."""
    for setting, text in paths.items():
        path = Path(text).expanduser()
        if not text or not path.exists() or path.is_relative_to(OWN) or path.parts[:1] in SHOWN:
            continue
        if not path.is_absolute() or text.startswith("~"):
            raise ConfigError(f"{setting} {text!r}: means another place in an image; write {path.absolute()}")
        if not _is_shown(text, _shown(run, mounts)):
            raise ConfigError(
                f"{setting} {text!r}: the image would not see it, since it lies neither below the run folder nor below "
                f"one of the site's mounts ({', '.join(mounts) or 'none'}); add {path}:{path}:ro to `mounts:` in the "
                "site profile, and name the profile by --site"
            )


def _shown(run: Path | None, mounts: Sequence[str]) -> list[Mount]:
    return [*([Mount(str(run), str(run))] if run else []), *(Mount.parse(mount) for mount in mounts)]


def _is_shown(folder: str, mounts: Iterable[Mount]) -> bool:
    return any(Path(folder).is_relative_to(mount.target) for mount in mounts)
