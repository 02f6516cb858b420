"""Images of the stages: build, test, sign, verify, push, pull, list and prune them; bundle a run for another lab.

Everything is done by apptainer and oras; images lie read-only in one folder per cluster, named by digest.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from selu_hpc.containers.apptainer import Apptainer
from selu_hpc.containers.build import BuildOptions, build
from selu_hpc.containers.bundle import bundle, unbundle
from selu_hpc.containers.digest import digest_of, require_digest, require_whole, short
from selu_hpc.containers.origin import compare
from selu_hpc.containers.pinned import locate, read_pinned
from selu_hpc.containers.registry import Place, pull, push
from selu_hpc.containers.shelf import Shelf
from selu_hpc.containers.trust import require_trusted, sign, signers
from selu_hpc.errors import ImageError, SeluError
from selu_hpc.logs import set_up_logging
from selu_hpc.recipes import load_site
from selu_hpc.rounds.provenance import SOURCE
from selu_hpc.rounds.rundir import RunDir
from selu_hpc.terminal import count, enter, refuses


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m selu_hpc.images", description=__doc__)
    parser.add_argument(
        "--images",
        type=Path,
        default=Path(os.environ.get("SELU_IMAGES", "images")),
        help="the shelf: one folder per cluster (default: $SELU_IMAGES or ./images)",
    )
    parser.add_argument("--apptainer", default="apptainer", help="the apptainer command")
    commands = parser.add_subparsers(dest="command", required=True)

    defaults = BuildOptions()
    made = commands.add_parser("build", help="build the image; one of the same name and definition is not built again")
    made.add_argument("--name", default=defaults.name, help="on the shelf (default: %(default)s)")
    made.add_argument(
        "--bootstrap", default=defaults.bootstrap, help="docker, localimage, oras … (default: %(default)s)"
    )
    made.add_argument(
        "--base", default=defaults.base, help="what to start from; a local .sif or folder (default: %(default)s)"
    )
    made.add_argument(
        "--variant", choices=["cpu", "cuda"], default=defaults.variant, help="of torch (default: %(default)s)"
    )
    made.add_argument("--torch", default="", help="pip requirement of the torch build (default: by variant)")
    made.add_argument("--definition", type=Path, default=SOURCE / "Apptainer.def", help="default: the package's own")
    made.add_argument(
        "--wheels",
        type=Path,
        default=_path("PIP_FIND_LINKS"),
        help="a folder of wheels for pip (default: PIP_FIND_LINKS)",
    )
    made.add_argument(
        "--ca-file", type=Path, default=_path("PIP_CERT"), help="CA certificates for pip (default: PIP_CERT)"
    )
    made.add_argument("--site", help="also build on pulled images, if they are signed by this site's trusted keys")
    made.add_argument("--fresh", action="store_true", help="build even if one of the same name and definition is there")

    for name, text in (
        ("test", "run the image's own test: a one-episode rollout and a LoRA step"),
        ("sign", "sign with a key of your apptainer keyring"),
        ("verify", "check digest and signatures"),
    ):
        one = commands.add_parser(name, help=text)
        which = "a file on the shelf" if name == "sign" else "any file"
        one.add_argument("image", help=f"name, name@sha256:… (whole, or as `list` shows it), or {which}")
        if name == "verify":
            one.add_argument("--site", help="also demand one of this site's trusted keys")
        if name == "sign":
            one.add_argument("--key-index", type=int, help="which private key (apptainer key list --secret)")

    out = commands.add_parser("push", help="copy an image to oras://HOST/REPOSITORY:TAG or a shared folder")
    out.add_argument("image", help="name, name@sha256:…, or a file on the shelf")
    out.add_argument("place", help="oras://HOST/REPOSITORY:TAG or a folder")
    back = commands.add_parser("pull", help="bring an image here by digest, once per cluster")
    back.add_argument("place", help="the line that push printed, or FILE@sha256:…")
    for one in (out, back):
        one.add_argument("--plain-http", action="store_true", help="the registry has no TLS")
    commands.add_parser("list", help="the images on the shelf")

    packed = commands.add_parser("bundle", help="everything another lab needs to repeat a run, in one file")
    packed.add_argument("--run", type=Path, required=True, help="the run folder")
    packed.add_argument("target", type=Path, help="the .tar to write")
    packed.add_argument("--with-image", action="store_true", help="put the image itself in")
    packed.add_argument("--with-results", action="store_true", help="put adapters, metrics and the report in")
    packed.add_argument("--image-place", default="", help="where to pull the image from, when it is not put in")
    packed.add_argument(
        "--accept-code", action="store_true", help="pack the code that is there, where it isn't what the run began with"
    )
    opened = commands.add_parser("unbundle", help="check a bundle and lay out a run folder from it")
    opened.add_argument("source", type=Path, help="the .tar that bundle wrote")
    opened.add_argument("target", type=Path, help="the run folder to make")
    matched = commands.add_parser("compare", help="does a run from a bundle have the same bytes as where it came from?")
    matched.add_argument("--run", type=Path, required=True, help="the run that unbundle laid out, once it is finished")
    old = commands.add_parser("prune", help="remove old images and what interrupted builds and pulls left")
    old.add_argument("--keep", type=count, default=2, help="newest images kept of each name (default: %(default)s)")
    old.add_argument("--used-by", type=Path, nargs="*", default=[], metavar="RUN", help="runs whose images stay")
    old.add_argument("--dry-run", action="store_true", help="only say what would go")
    return parser


def _path(variable: str) -> Path | None:
    """A path that pip's own settings name; what is lent to the build must be on this machine."""
    named = os.environ.get(variable, "")
    return Path(named) if named and Path(named).exists() else None


def main(argv: Sequence[str] | None = None) -> int:
    options = build_parser().parse_args(argv)
    set_up_logging()
    shelf = Shelf(options.images.absolute())
    try:
        for line in COMMANDS[options.command](options, shelf, Apptainer(options.apptainer)):
            sys.stdout.write(line + "\n")
    except SeluError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    except BrokenPipeError:
        raise
    except OSError as error:
        if not error.filename and refuses(sys.stdout):  # told by terminal.enter
            raise
        where = Path(error.filename or options.images).absolute()
        if where.is_relative_to(shelf.path):
            do = "choose a shelf that you may use by --images or SELU_IMAGES, or ask whoever keeps this one"
        else:
            do = "give another place"
        sys.stderr.write(f"error: {where}: {error.strerror or error}; {do}\n")
        return ImageError.exit_code
    return 0


def _build(options: argparse.Namespace, shelf: Shelf, apptainer: Apptainer) -> list[str]:
    entry = build(
        BuildOptions(
            name=options.name,
            bootstrap=options.bootstrap,
            base=options.base,
            torch=options.torch,
            variant=options.variant,
            definition=options.definition.absolute(),
            wheels=options.wheels,
            ca_file=options.ca_file,
            trusted_keys=load_site(options.site).trusted_keys if options.site else (),
            fresh=options.fresh,
        ),
        shelf=shelf,
        apptainer=apptainer,
    )
    return [str(shelf.file(entry)), entry.digest, f"{entry.size / 1e6:.0f} MB"]


def _test(options: argparse.Namespace, shelf: Shelf, apptainer: Apptainer) -> list[str]:
    title, file, _ = _find(options.image, shelf)
    apptainer.run(["test", "--cleanenv", str(file)], show=True)
    return [f"{title}: its test passed"]


def _find(wanted: str, shelf: Shelf) -> tuple[str, Path, str]:
    """How to call an image on the shelf or any other file, the file, and the digest it must have ('' for any)."""
    file, digest = locate(wanted)
    named = wanted.removesuffix(f"@{digest}")
    if file.is_file() and not any(one.name == named or shelf.file(one) == file for one in shelf.entries()):
        require_whole(digest, named=wanted)
        return str(file), file, digest
    entry = shelf.find(wanted)
    return entry.title, shelf.file(entry), entry.digest


def _sign(options: argparse.Namespace, shelf: Shelf, apptainer: Apptainer) -> list[str]:
    entry = shelf.find(options.image)
    signed = shelf.sign(entry, lambda file: sign(file, apptainer=apptainer, key_index=options.key_index))
    return [f"signed; the image is now {signed.title}", str(shelf.file(signed))]


def _verify(options: argparse.Namespace, shelf: Shelf, apptainer: Apptainer) -> list[str]:
    title, file, digest = _find(options.image, shelf)
    if digest:
        require_digest(file, digest, remember=False)
    if options.site:
        require_trusted(file, load_site(options.site).trusted_keys, apptainer=apptainer)
    found = signers(file, apptainer=apptainer)
    said = "digest holds" if digest else f"its digest is {digest_of(file, remember=False)}"
    return [f"{title}: {said}", *(f"signed by {one}" for one in found)]


def _push(options: argparse.Namespace, shelf: Shelf, apptainer: Apptainer) -> list[str]:
    place = Place.parse(options.place)
    made = push(shelf.find(options.image), place, shelf=shelf, apptainer=apptainer, plain_http=options.plain_http)
    return [f"pushed; others pull it with: python -m selu_hpc.images pull {shlex.quote(str(made))}"]


def _pull(options: argparse.Namespace, shelf: Shelf, apptainer: Apptainer) -> list[str]:
    entry = pull(Place.parse(options.place), shelf=shelf, apptainer=apptainer, plain_http=options.plain_http)
    wanted = shlex.quote(f"image={shelf.file(entry)}@{entry.digest}")
    return [str(shelf.file(entry)), f"run with it: --set {wanted}"]


def _require(shelf: Shelf) -> None:
    """Of a mistyped shelf there would be nothing to list or to remove."""
    if not shelf.path.is_dir():
        raise ImageError(
            f"{shelf.path}: no such shelf; name one by --images or SELU_IMAGES, or begin it by `build` or `pull`"
        )


def _list(options: argparse.Namespace, shelf: Shelf, _apptainer: Apptainer) -> list[str]:
    _require(shelf)
    table = Table(title=str(shelf.path), title_justify="left")
    for column in ("image", "digest", "MB", "commit", "definition", "places"):
        table.add_column(column)
    for entry in shelf.entries():
        places = "\n".join(entry.places)
        megabytes = f"{entry.size / 1e6:.0f}"
        table.add_row(entry.name, short(entry.digest), megabytes, entry.commit[:12], entry.definition, places)
    Console(width=None if sys.stdout.isatty() else 200).print(table)
    return []


def _bundle(options: argparse.Namespace, _shelf: Shelf, _apptainer: Apptainer) -> list[str]:
    if options.target.is_dir():
        raise ImageError(f"{options.target}: is a folder; give the file to write, such as {options.target / 'run.tar'}")
    sizes = bundle(
        RunDir(options.run.absolute()),
        options.target.absolute(),
        with_image=options.with_image,
        with_results=options.with_results,
        image_place=options.image_place,
        accept_code=options.accept_code,
    )
    return [f"{options.target}: {len(sizes)} files, {sum(sizes.values()) / 1e6:.1f} MB"]


def _unbundle(options: argparse.Namespace, _shelf: Shelf, _apptainer: Apptainer) -> list[str]:
    done = unbundle(options.source, options.target.absolute())
    return [f"all hashes hold; run folder: {done.run.path}", "what is left to do:", *(f"  {one}" for one in done.to_do)]


def _compare(options: argparse.Namespace, _shelf: Shelf, _apptainer: Apptainer) -> list[str]:
    found = compare(RunDir(options.run.absolute()))
    lines = [str(one) for one in found]
    if any(one.differ for one in found):
        raise ImageError("\n".join([*lines, "other code, versions, image or processor?"]))
    if any(one.missing for one in found):
        raise ImageError("\n".join([*lines, "finish the run by submit, then compare again"]))
    return lines


def _prune(options: argparse.Namespace, shelf: Shelf, _apptainer: Apptainer) -> list[str]:
    _require(shelf)
    runs = [RunDir(run.absolute()) for run in options.used_by]
    for run in runs:
        run.require()  # of a mistyped one the image would go
    used = [pinned.digest for run in runs if (pinned := read_pinned(run))]
    gone = shelf.prune(keep=options.keep, used=used, dry_run=options.dry_run)
    freed = sum(size for _, size in gone) / 1e6
    return [*(name for name, _ in gone), f"{'would free' if options.dry_run else 'freed'} {freed:.0f} MB"]


COMMANDS = {
    "build": _build,
    "test": _test,
    "sign": _sign,
    "verify": _verify,
    "push": _push,
    "pull": _pull,
    "list": _list,
    "bundle": _bundle,
    "unbundle": _unbundle,
    "compare": _compare,
    "prune": _prune,
}

if __name__ == "__main__":
    enter(main)
