#!/usr/bin/env bash
# Builds the project's image for the tests, without internet images and as a user without rights: a Debian base by
# debootstrap, then `python -m selu_hpc.images build`. Root, after install.sh and `tests/cluster/cluster.py up`.
#
#     tests/containers/build.sh PYTHON [SHELF]     default shelf /var/tmp/selu-images, kept for the next run
set -euo pipefail
cd "$(dirname "$0")/../.."

python=$(realpath -s "$1")
shelf=${2:-/var/tmp/selu-images}
user=selu
base=/var/tmp/selu-image-base

if [ ! -f "$base/.whole" ]; then
    # A debootstrap that was killed leaves these mounted.
    umount --lazy "$base/proc" "$base/sys" 2>/dev/null || true
    rm -rf --one-file-system "$base"
    mirror=$(awk '/^(URIs:|deb )/ { for (i = 2; i <= NF; i++) if ($i ~ /:\/\// && $i !~ /security/) { print $i; exit } }' \
        $(ls /etc/apt/sources.list /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list 2>/dev/null))
    debootstrap --variant=minbase --include=ca-certificates bookworm "$base" "$mirror" >/dev/null
    rm -rf "${base:?}"/dev/* "${base:?}"/var/cache/apt/archives/*.deb
    chmod -R a+rX "$base"
    touch "$base/.whole"
fi
mkdir -p "$shelf" "$shelf/.tmp"
chown "$user" "$shelf" "$shelf/.tmp"
images() {
    "$python" tests/cluster/cluster.py run --user "$user" -- env \
        APPTAINER_TMPDIR="$shelf/.tmp" APPTAINER_CACHEDIR="$shelf/.tmp" \
        PIP_FIND_LINKS="${PIP_FIND_LINKS:-}" PIP_CERT="${PIP_CERT:-}" \
        "$python" -m selu_hpc.images --images "$shelf" "$@"
}
images build --bootstrap localimage --base "$base"
images prune --keep 2
