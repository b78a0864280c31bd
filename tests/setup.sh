#!/usr/bin/env bash
# Installs what the end-to-end tests need and this machine lacks, and says what and why. Quick when everything is there.
#
# Debian or Ubuntu packages need root or sudo; without either, it names them and goes on: the scenarios that need them are
# reported as skipped. npm and PyPI packages go to tests/node_modules and tests/.venv, pinned by package-lock.json and
# requirements.txt.
set -euo pipefail
cd "$(dirname "$0")"

packages=()
need() { # need REASON PACKAGE...
  printf 'tests: needs %s, for %s\n' "${*:2}" "$1"
  packages+=("${@:2}")
}
have() { # one of the commands is there
  for command in "$@"; do command -v "$command" >/dev/null 2>&1 && return 0; done
  return 1
}

have node && node -e 'const [major, minor] = process.versions.node.split("."); process.exit(major > 18 || (major == 18 && minor >= 20) ? 0 : 1)' ||
  need 'the test runner' nodejs
have npm || need 'the packages of the test runner' npm
have ip || need 'network namespaces' iproute2
have ethtool || need 'checksums on veth' ethtool
have curl || need 'requests inside network namespaces' curl
have qemu-system-x86_64 || need 'virtual machines with other kernels' qemu-system-x86
have busybox || need 'virtual machines with other kernels' busybox-static
have strip || need 'virtual machines with other kernels' binutils
have xz || need 'virtual machines with other kernels' xz-utils
have chromium chromium-browser google-chrome || need 'browser tests' chromium
have firefox-esr firefox || need 'browser tests' firefox-esr
{ have python3 && python3 -c 'import ensurepip, venv' 2>/dev/null; } || need 'aiortc and FFmpeg from PyPI' python3 python3-venv
gstreamer='
import gi
gi.require_version("GstWebRTC", "1.0")
gi.require_version("GstSdp", "1.0")
from gi.repository import Gst
Gst.init(None)
wanted = ["webrtcbin", "nicesrc", "dtlssrtpenc", "vp8enc", "rtpvp8pay", "x264enc", "opusenc", "rtpopuspay", "videotestsrc"]
raise SystemExit(any(Gst.ElementFactory.find(one) is None for one in wanted))'
/usr/bin/python3 -c "$gstreamer" >/dev/null 2>&1 ||
  need 'the GStreamer publisher' python3-gi gir1.2-gst-plugins-base-1.0 gir1.2-gst-plugins-bad-1.0 gstreamer1.0-nice \
    gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly

if [ ${#packages[@]} -gt 0 ]; then
  sudo=()
  if [ "$(id -u)" -ne 0 ]; then sudo=(sudo -n); fi
  install=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends)
  if ! have apt-get || { [ ${#sudo[@]} -gt 0 ] && ! sudo -n true 2>/dev/null; }; then
    printf 'tests: cannot install packages here (no apt-get, or neither root nor sudo): going on without\n' >&2
  else
    # The package lists may be missing or old: fetch them only when the first try fails.
    "${install[@]}" "${packages[@]}" || {
      "${sudo[@]}" apt-get update
      "${install[@]}" "${packages[@]}" ||
        for package in "${packages[@]}"; do
          "${install[@]}" "$package" || printf 'tests: %s cannot be installed: going on without\n' "$package" >&2
        done
    }
  fi
fi

../scripts/npm.sh tests
if have python3 && ! cmp -s requirements.txt .venv/.installed; then
  echo 'tests: installs the packages of requirements.txt, for aiortc, FFmpeg and schemathesis'
  if python3 -m venv .venv && .venv/bin/pip install --quiet --disable-pip-version-check -r requirements.txt; then
    cp requirements.txt .venv/.installed
  else
    printf 'tests: no aiortc and no FFmpeg: going on without\n' >&2
  fi
fi
