"""What the image costs a task at its start: bare python, and the stages' imports, inside it and on the host.

    python benchmarks/image.py [--image FILE] [--unpacked] [--quick]

Both sides run in turn, the image by the very line that jobs use (bind contract, clean environment, private /tmp).
The image may take CONSTANT_S for the container itself; what is above that is compared with the host. Medians by the
clock decide; minima and CPU seconds (of all processes, what mounts the image included) say how much of it was the
machine's other load. As a user, not as root, whose images the kernel mounts and not FUSE.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from _report import exit_code, report, run

from selu_hpc.containers.apptainer import Apptainer
from selu_hpc.containers.digest import digest_of
from selu_hpc.containers.launch import exec_line, passed_environment, private_folder, shared_cache
from selu_hpc.containers.unpacked import unpacked

CONSTANT_S = 0.5
WORK = {
    "python": "pass",
    "gate": "import selu_hpc.stages.gate",
    "rollout": "import selu_hpc.stages.rollout, torch, transformers, zarr, ai2thor.controller",
    "finetune": "import selu_hpc.stages.finetune, torch, transformers, peft, deepspeed",
}
SHELF = Path(os.environ.get("SELU_IMAGES", "/var/tmp/selu-images"))


def newest_image() -> Path:
    try:
        entry = json.loads((SHELF / "lock.json").read_text())["images"][-1]
    except (OSError, IndexError) as error:
        raise SystemExit(f"no image in {SHELF} ({error}); build one: python -m selu_hpc.images build") from error
    return SHELF / f"{entry['name']}-{entry['digest'].removeprefix('sha256:')[:12]}.sif"


Cost = tuple[float, float]
"""Seconds by the clock, CPU seconds."""


def cost(line: Sequence[str], *, environment: dict[str, str]) -> Cost:
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(line)}\n{done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.monotonic() - start, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def compare(code: str, *, image: Path, private: Path, cache: Path, num_turns: int) -> tuple[list[Cost], list[Cost]]:
    """On the host and in the image, in turn; the first turn warms both and is not counted."""
    environment = {**os.environ, "PYTHONNOUSERSITE": "1"}
    host = [sys.executable, "-c", code]
    inside = exec_line(
        ["python", "-c", code],
        image=image,
        run=private,
        private=private,
        cache=cache,
    )
    ours, theirs = [], []
    for _ in range(num_turns + 1):
        theirs.append(cost(host, environment=environment))
        ours.append(cost(inside, environment={**environment, **passed_environment()}))
    return theirs[1:], ours[1:]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path, help=f"default: the newest in {SHELF} ($SELU_IMAGES)")
    parser.add_argument("--unpacked", action="store_true", help="as on a site with unpack_image")
    parser.add_argument("--quick", action="store_true", help="fewer turns")
    options = parser.parse_args()
    if options.image and not options.image.is_file():
        parser.error(f"--image {options.image}: no such file; give one that `python -m selu_hpc.images list` shows")
    image = (options.image or newest_image()).absolute()
    measures: dict[str, object] = {"image_mb": round(image.stat().st_size / 1e6), "constant_s": CONSTANT_S}
    ratios, targets = {}, {}
    digest = digest_of(image)
    if options.unpacked:
        start = time.monotonic()
        image = unpacked(image, digest, apptainer=Apptainer())
        measures["unpack_s"] = round(time.monotonic() - start, 1)
    with private_folder() as private:
        cache = shared_cache(digest, private=private)
        for name, code in WORK.items():
            host, inside = compare(code, image=image, private=private, cache=cache, num_turns=2 if options.quick else 7)
            theirs, ours = (statistics.median(clock for clock, _ in side) for side in (host, inside))
            least = [min(clock for clock, _ in side) for side in (host, inside)]
            cpu = [statistics.median(used for _, used in side) for side in (host, inside)]
            measures |= {f"{name}_host_s": round(theirs, 3), f"{name}_image_s": round(ours, 3)}
            measures |= {f"{name}_host_min_s": round(least[0], 3), f"{name}_image_min_s": round(least[1], 3)}
            measures |= {f"{name}_host_cpu_s": round(cpu[0], 3), f"{name}_image_cpu_s": round(cpu[1], 3)}
            print(
                f"{name:10} host {theirs:7.3f} s   image {ours:7.3f} s   least {least[0]:.3f} {least[1]:.3f}   "
                f"CPU {cpu[0]:.3f} {cpu[1]:.3f}",
                flush=True,
            )
            if name == "python":
                # A bare python takes 20 ms: the container's own time is what is measured, so it has the constant alone.
                ratios["container_start_vs_constant"] = (least[1] - least[0]) / CONSTANT_S
                targets["container_start_vs_constant"] = "<=1"
            else:
                ratios[f"{name}_vs_host"] = (ours - CONSTANT_S) / theirs
                targets[f"{name}_vs_host"] = "<=1.3"
    return exit_code(report("image", measures=measures, ratios=ratios, targets=targets))


if __name__ == "__main__":
    run(main)
