"""The image that stages run in: its digest, its signature, what is seen inside, and the Apptainer that starts it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from selu_hpc.config import RunConfig
from selu_hpc.containers.apptainer import Apptainer
from selu_hpc.containers.digest import digest_of, require_whole, short
from selu_hpc.containers.mounts import hub_folders, require_shown
from selu_hpc.containers.pinned import locate
from selu_hpc.containers.trust import require_trusted
from selu_hpc.engines.checks.finding import Finding, bad, ok, warn
from selu_hpc.errors import ConfigError, SeluError
from selu_hpc.rounds.provenance import named_paths
from selu_hpc.site import Site


def check_image(config: RunConfig, site: Site) -> Iterator[Finding]:
    """Digest and signature of the image, and what this Apptainer can do."""
    if config.image == "none":
        yield ok("image", "none: stages run on the host's python")
        return
    path, expected = locate(config.image)
    try:
        require_whole(expected, named=config.image)
        found = digest_of(path)
        if expected and expected != found:
            fix = "pull it by digest: python -m selu_hpc.images pull"
            yield bad("image", f"is {short(found)}, the recipe asks for {short(expected)}", fix)
            return
        apptainer = Apptainer(site.apptainer)
        yield ok("image", f"{path.name} {short(found)}")
        require_trusted(path, site.trusted_keys, apptainer=apptainer)
        yield ok("signature", f"by one of {len(site.trusted_keys)} trusted keys" if site.trusted_keys else "none asked")
        yield check_mounts(config, site)
    except (OSError, SeluError) as error:
        yield bad("image", str(error), "build or pull it: python -m selu_hpc.images --help")


def check_mounts(config: RunConfig, site: Site) -> Finding:
    """Whether stages will see, in the image, the base and the Unity builds that the recipe names."""
    paths, base = named_paths(config), config.model.base
    try:
        require_shown(paths, run=None, mounts=site.mounts)
    except ConfigError as error:
        return bad("mounts", str(error), "correct `mounts:` in the profile")
    is_hub_id = paths["model.base"] and not Path(base).is_absolute()
    if is_hub_id and not hub_folders(os.environ):
        fix = "set HF_HOME to a folder that the nodes see, where jobs get their environment (~/.bashrc, a module)"
        return warn("mounts", f"{base} comes from the hub cache, and HF_HOME names no folder here", fix)
    return ok("mounts", f"{', '.join(site.mounts) or 'none'}; what the recipe names is seen in the image")


def check_apptainer(site: Site, *, needed: bool) -> Finding:
    """On this machine; where stages run on a cluster's nodes, their own is what counts, and a test job there tries it.

    Signatures are checked here too, so that a site that demands them needs it here.
    """
    answer = f"no {site.apptainer} on this machine"
    if shutil.which(site.apptainer) is None and not needed:
        return warn("apptainer", answer, "none needed: the recipe has no image")
    if shutil.which(site.apptainer) is None and site.partitions and not site.trusted_keys:
        loaded = f"jobs load {', '.join(site.modules)} first; " if site.modules else ""
        fix = f"none needed, if the nodes have it: {loaded}a test job (without --no-jobs) says whether it starts there"
        return warn("apptainer", answer, fix)
    if shutil.which(site.apptainer) is None:
        return bad("apptainer", answer, "load the site's module (`module avail apptainer`), or install it")
    version = ".".join(str(part) for part in Apptainer(site.apptainer).version)
    return ok(
        "apptainer", f"{version}; user namespaces {'on' if _user_namespaces() else 'off: images need setuid mode'}"
    )


def _user_namespaces() -> bool:
    done = subprocess.run(["unshare", "--user", "true"], capture_output=True, timeout=10, check=False)
    return done.returncode == 0
