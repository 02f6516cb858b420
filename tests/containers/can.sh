#!/usr/bin/env bash
# Can this machine build and run images for the tests? Exit code 0, or 69 and why not on stdout.
set -uo pipefail

cannot() {
    echo "$*"
    exit 69
}

[ "$(id -u)" = 0 ] || cannot "not root, which installs Apptainer and Slurm and makes the user the images run as"
if ! command -v apptainer >/dev/null; then
    # shellcheck disable=SC1091
    . /etc/os-release
    [ "${ID:-}-${VERSION_ID:-}" = debian-12 ] || cannot "no apptainer here, and install.sh knows Debian 12 only"
fi
as_nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)
"${as_nobody[@]}" unshare --user --map-root-user --mount true 2>/dev/null ||
    cannot "users may not make user namespaces here: they could neither build nor run an image"
# A bare machine may have no device file, or one that udev has not opened to users yet.
[ -c /dev/fuse ] || mknod /dev/fuse c 10 229 2>/dev/null || cannot "no /dev/fuse, which mounts an image for a user"
chmod 666 /dev/fuse 2>/dev/null
# Opening it asks the kernel whether it knows FUSE.
"${as_nobody[@]}" sh -c 'exec 3<>/dev/fuse' 2>/dev/null || cannot "users may not open /dev/fuse, or the kernel has no FUSE"
free_kb=$(df --output=avail /var/tmp | tail -n 1)
[ "$free_kb" -gt 8000000 ] || cannot "less than 8 GB free in /var/tmp"
