"""Signatures: made and checked by apptainer; this only decides whether a site's listed keys are satisfied."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from selu_hpc.containers.apptainer import Apptainer
from selu_hpc.containers.digest import ReplacedError, note, noted, unchanged
from selu_hpc.errors import ImageError

FINGERPRINT = re.compile(r"[0-9A-F]{40}|[0-9A-F]{64}")


def sign(image: Path, *, apptainer: Apptainer, key_index: int | None = None) -> None:
    """Sign with a key of the user's apptainer keyring; the file's digest changes, for a SIF carries its signatures."""
    mode = image.stat().st_mode
    image.chmod(mode | 0o200)
    try:
        apptainer.run(["sign", *(["--keyidx", str(key_index)] if key_index is not None else []), str(image)])
    finally:
        image.chmod(mode)


def signers(image: Path, *, apptainer: Apptainer) -> list[str]:
    """Fingerprints of the keys that signed the whole image; raises when a signature is missing or broken."""
    said = json.loads(apptainer.run(["verify", "--local", "--all", "--json", str(image)]))
    found = []
    for one in said.get("SignerKeys") or []:
        signer = one["Signer"]
        if not signer.get("KeyCheck") or not signer.get("DataCheck"):
            raise ImageError(f"{image}: the signature by {signer.get('Name') or '?'} does not fit its data")
        found.append(str(signer["Fingerprint"]).upper())
    return list(dict.fromkeys(found))


def require_trusted(image: Path, trusted: Sequence[str], *, apptainer: Apptainer) -> None:
    """Refuse an image unless every signature in it holds and is by one of the site's keys; no keys, no demand.

    Every one, since a signature may cover a part only: a stranger's file system beside a page the lab signed is the
    stranger's image. Checked once per node and version of the file, not by each of a thousand tasks.
    """
    if not trusted:
        return
    wanted = _fingerprints(trusted)
    known = noted(image, "signers")
    try:
        with unchanged(image) as looked_at:
            found = set(known.split() if known else signers(image, apptainer=apptainer))
    except ReplacedError:
        raise
    except ImageError as error:
        raise ImageError(f"{image}: this site demands a signature, and this does not hold: {error}") from error
    if not found or found - wanted:
        raise ImageError(
            f"{image}: signed by {', '.join(sorted(found - wanted)) or 'nobody'}, this site trusts "
            f"{', '.join(sorted(wanted))} only; ask the site to list the key (trusted_keys), or take an image signed "
            "by a listed one: `python -m selu_hpc.images pull PLACE`"
        )
    note(image, "signers", " ".join(sorted(found)), looked_at)


def _fingerprints(trusted: Sequence[str]) -> set[str]:
    """Whole fingerprints only: short ones can be forged."""
    found = {key.upper().replace(" ", "") for key in trusted}
    if short := sorted(key for key in found if not FINGERPRINT.fullmatch(key)):
        raise ImageError(
            f"the site's trusted_keys hold {', '.join(short)}: write whole fingerprints (40 hex digits), "
            "as `apptainer key list` prints them"
        )
    return found
