"""The image a run began with, written into the run folder, and the image a site's `image:` setting means."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from selu_hpc.config import RunConfig
from selu_hpc.containers.apptainer import Apptainer
from selu_hpc.containers.digest import digest_of, require_whole, short
from selu_hpc.containers.mounts import require_shown
from selu_hpc.containers.trust import require_trusted
from selu_hpc.errors import ImageError
from selu_hpc.rounds.provenance import has_begun, named_paths
from selu_hpc.rounds.rundir import RunDir, write_json
from selu_hpc.site import Site


@dataclass(frozen=True, slots=True, kw_only=True)
class Pinned:
    """RUN/image.json: which file, its digest, how this site starts it and whose signature it demands."""

    path: Path
    digest: str
    apptainer: str = "apptainer"
    mounts: tuple[str, ...] = ()
    scratch: str = ""
    trusted_keys: tuple[str, ...] = ()
    unpack: bool = False
    network: bool = False
    """Whether stages must reach other machines: a generation server. Without, they see loopback only."""
    working_copy: Path | None = None


def read_pinned(run: RunDir) -> Pinned | None:
    """What RUN/image.json says; None for a run without an image."""
    try:
        found = json.loads(run.image_file.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ImageError(f"{run.image_file}: not JSON ({error}); move it away and submit again") from error
    try:
        copy = found["working_copy"]
        return Pinned(
            path=Path(found["path"]),
            digest=found["digest"],
            apptainer=found["apptainer"],
            mounts=tuple(found["mounts"]),
            scratch=found["scratch"],
            trusted_keys=tuple(found["trusted_keys"]),
            unpack=found.get("unpack", False),
            network=found["network"],
            working_copy=Path(copy) if copy else None,
        )
    except (KeyError, TypeError) as error:
        raise ImageError(
            f"{run.image_file}: not an image's record ({error!r}); move it away and submit again"
        ) from error


def choose(
    run: RunDir, config: RunConfig, site: Site | None, *, accept: bool = False, working_copy: Path | None = None
) -> Pinned | None:
    """Digest, signature, mounts and "the one the run began with": refused before anything is written or submitted.

    Without a site, the run's own site facts go on to hold.
    """
    before = read_pinned(run)
    if config.image == "none":
        if working_copy:
            raise ImageError("--working-copy lays code over an image's, and this run has none (image=none)")
        _same_as_before(run, before, None, accept=accept)
        return None
    path, expected = locate(config.image)
    require_whole(expected, named=config.image)
    found = digest_of(path)
    if expected and found != expected:
        raise ImageError(
            f"{path}: is {short(found)}, the config asks for {short(expected)}; pull that one by digest: "
            "`python -m selu_hpc.images pull PLACE`"
        )
    if site:
        base = Pinned(
            path=path,
            digest=found,
            apptainer=site.apptainer,
            mounts=site.mounts,
            scratch=site.scratch,
            trusted_keys=site.trusted_keys,
            unpack=site.unpack_image,
        )
    else:
        base = before or Pinned(path=path, digest=found)
    pinned = replace(base, path=path, digest=found, network=bool(config.model.server_url), working_copy=working_copy)
    _same_as_before(run, before, pinned, accept=accept)
    require_shown(named_paths(config), run=run.path, mounts=pinned.mounts)
    require_trusted(path, pinned.trusted_keys, apptainer=Apptainer(pinned.apptainer))
    return pinned


def keep(run: RunDir, pinned: Pinned | None) -> None:
    """Write the choice where every job of the run finds it."""
    if pinned is None:
        run.image_file.unlink(missing_ok=True)
        return
    text = {**asdict(pinned), "path": str(pinned.path)}
    text["working_copy"] = str(pinned.working_copy) if pinned.working_copy else None
    write_json(run.image_file, text)
    if pinned.working_copy:
        _mark_dirty(run, pinned.working_copy)


def _mark_dirty(run: RunDir, working_copy: Path) -> None:
    """For good: some of the run's shards will have been made by code that no commit and no image holds."""
    provenance = json.loads(run.provenance_file.read_bytes())
    provenance["code"] = {**provenance.get("code", {}), "dirty": True, "working_copy": str(working_copy)}
    write_json(run.provenance_file, provenance)


def _same_as_before(run: RunDir, before: Pinned | None, now: Pinned | None, *, accept: bool) -> None:
    if accept or not _has_begun(run):
        return
    old, new = (one.digest if one else "" for one in (before, now))
    if old == new:
        return
    what = [f"image {short(digest)}" if digest else "no image (the host's python)" for digest in (old, new)]
    raise ImageError(
        f"{run.path}: began with {what[0]}, this would go on with {what[1]}; bring the first one back, "
        "or say --accept-image to go on with the other"
    )


def _has_begun(run: RunDir) -> bool:
    """Whether a stage may have seen which image it is."""
    return run.image_file.exists() or has_begun(run)


def locate(image: str) -> tuple[Path, str]:
    """`PATH` or `PATH@sha256:…` → the file and the digest it must have ('' when none was asked for)."""
    path, mark, digest = image.rpartition("@sha256:")
    return (Path(path).absolute(), f"sha256:{digest}") if mark else (Path(image).absolute(), "")
