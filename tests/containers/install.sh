#!/usr/bin/env bash
# Puts a real Apptainer (and oras) on Debian 12, where only unstable has packages of them, without touching the
# system's libraries: unstable's binaries get unstable's libc from a folder of their own. Root; safe to repeat.
# Exit code 69, and why on stdout, when the packages cannot be had.
#
#     tests/containers/install.sh [PREFIX]        default /opt/apptainer; then `apptainer` and `oras` are on the PATH
set -euo pipefail

prefix=${1:-/opt/apptainer}
export DEBIAN_FRONTEND=noninteractive

needed=(apptainer oras docker-registry debootstrap mksquashfs squashfuse_ll newuidmap)
if [ "$(command -v "${needed[@]}" | wc -l)" = "${#needed[@]}" ] && apptainer version >/dev/null 2>&1; then
    echo "apptainer $(apptainer version) is here"
    exit 0
fi
[ "$(id -u)" = 0 ] || { echo "run this as root: it installs packages" >&2; exit 1; }

# What is fetched over the network; a machine without it is no failure of ours.
fetch() {
    "$@" || {
        echo "packages for Apptainer cannot be had: $1 $2 … failed"
        exit 69
    }
}

# What builds and mounts images, from this Debian release.
retry=(-qq -o Acquire::Retries=3)
fetch apt-get update "${retry[@]}"
fetch apt-get install "${retry[@]}" -y --no-install-recommends \
    uidmap squashfs-tools squashfuse fuse2fs fuse3 fuse-overlayfs patchelf debootstrap docker-registry \
    ca-certificates cryptsetup-bin >/dev/null

# An apt of our own that knows unstable; the mirror is the one this machine already uses.
mirror=$(awk '/^(URIs:|deb )/ { for (i = 2; i <= NF; i++) if ($i ~ /:\/\// && $i !~ /security/) { print $i; exit } }' \
    $(ls /etc/apt/sources.list /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list 2>/dev/null))
apt=$(mktemp -d)
trap 'rm -rf "$apt"' EXIT
mkdir -p "$apt"/{lists/partial,cache/archives/partial,packages,tree}
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${mirror%/} unstable main" >"$apt/sources.list"
unstable=("${retry[@]}" -o Dir::State::Lists="$apt/lists" -o Dir::Cache="$apt/cache" -o Dir::Etc::SourceList="$apt/sources.list"
    -o Dir::Etc::SourceParts=/dev/null -o APT::Sandbox::User=root)
fetch apt-get update "${unstable[@]}"
cd "$apt/packages"
fetch apt-get download "${unstable[@]}" apptainer oras libc6 libseccomp2 libsqlite3-0
cd /
for package in "$apt"/packages/*.deb; do dpkg-deb -x "$package" "$apt/tree"; done

libraries=$prefix/lib
mkdir -p "$libraries" "$prefix"
find "$apt/tree" \( -path '*x86_64-linux-gnu*' -o -path '*aarch64-linux-gnu*' \) -name '*.so*' \
    -exec cp -a {} "$libraries/" \;
loader=$(find "$libraries" -name 'ld-linux-*.so.*' | head -n 1)

# Apptainer looks for its parts beside where it was built to lie: put them there, patched to the other libc.
for name in apptainer singularity run-singularity oras; do
    if [ -e "$apt/tree/usr/bin/$name" ]; then cp -a "$apt/tree/usr/bin/$name" /usr/bin/; fi
done
cp -a "$apt/tree/etc/apptainer" /etc/
mkdir -p /usr/libexec /var/lib/apptainer/mnt/session
if [ -d "$apt/tree/usr/libexec/apptainer" ]; then cp -a "$apt/tree/usr/libexec/apptainer" /usr/libexec/; fi
if [ -d "$apt/tree/usr/lib/x86_64-linux-gnu/apptainer" ]; then
    mkdir -p /usr/lib/x86_64-linux-gnu
    cp -a "$apt/tree/usr/lib/x86_64-linux-gnu/apptainer" /usr/lib/x86_64-linux-gnu/
fi
for binary in /usr/bin/apptainer /usr/bin/oras $(find /usr/libexec/apptainer /usr/lib/*/apptainer -type f \
    -perm -u+x 2>/dev/null); do
    if patchelf --print-interpreter "$binary" >/dev/null 2>&1; then
        patchelf --set-interpreter "$loader" --force-rpath --set-rpath "$libraries" "$binary"
    fi
done
apptainer version
oras version | head -n 1
