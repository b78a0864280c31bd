#!/usr/bin/env bash
# Fetches the cloud kernel of a Debian suite for a virtual machine.
#
#   fetch.sh SUITE      (bookworm, trixie, trixie-backports)
#
# Makes target/kernels/SUITE: `vmlinuz`, `version`, and in `modules` what virtio-net needs, numbered in the order of loading.
# A kernel that is there is kept; remove the folder to have a newer one. Nothing is installed, and apt's own state is left alone.
set -euo pipefail
suite=$1
cd "$(dirname "$0")/../.."
folder=$PWD/target/kernels/$suite
if [ -s "$folder/version" ]; then exit 0; fi

mirror=${ION_DEBIAN_MIRROR:-http://deb.debian.org/debian}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
if ! command -v apt-get >/dev/null || [ ! -e "$keyring" ]; then
    echo "kernels come from Debian: apt-get and $keyring (package debian-archive-keyring) are needed" >&2
    exit 1
fi
modules=(virtio virtio_ring virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci failover net_failover virtio_net)

rm -rf "$folder"
mkdir -p "$folder"/{modules,apt/{lists,archives}/partial,unpacked}
cd "$folder"
echo "deb [arch=amd64 signed-by=$keyring] $mirror $suite main" >apt/sources.list
apt=(-q -o Dir::Etc::SourceList="$PWD/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null -o APT::Architecture=amd64
    -o Dir::State::Lists="$PWD/apt/lists" -o Dir::State::status=/dev/null -o Dir::Cache="$PWD/apt" -o APT::Sandbox::User=root
    -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false
    -o Acquire::http::Timeout=20 -o Acquire::Retries=2)
depends() { # depends PACKAGE PATTERN: those of its dependencies that match
    apt-cache "${apt[@]}" depends "$1" | awk -v pattern="^$2" '$1 == "Depends:" && $2 ~ pattern {print $2}'
}

echo "fetches the kernel of $suite from $mirror"
apt-get "${apt[@]}" update >apt/log 2>&1 || { cat apt/log >&2; exit 1; }
image=$(depends linux-image-cloud-amd64 linux-image-)
# Newer ones are in parts.
mapfile -t parts < <(depends "$image" 'linux-(binary|modules)-')
apt-get "${apt[@]}" download "$image" "${parts[@]}" >apt/log 2>&1 || { cat apt/log >&2; exit 1; }
for package in ./*.deb; do dpkg-deb -x "$package" unpacked; done

cp "$(find unpacked -name 'vmlinuz*' -type f)" vmlinuz
number=10
for module in "${modules[@]}"; do
    # What is not there is built in.
    file=$(find unpacked -name "$module.ko*" -type f)
    case $file in
        '') ;;
        *.ko) cp "$file" "modules/$number-$module.ko" ;;
        *.xz) xz -dc "$file" >"modules/$number-$module.ko" ;;
        *.zst) zstd -qdc "$file" >"modules/$number-$module.ko" ;;
    esac
    number=$((number + 1))
done
[ -s modules/17-virtio_net.ko ] || { echo "$image has no virtio_net module" >&2; exit 1; }
rm -rf apt unpacked ./*.deb
echo "${image#linux-image-}" >version
