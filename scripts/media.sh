#!/usr/bin/env bash
# Encodes what the load generator publishes: ten-second loops of moving pictures in VP8 and H264, and of sound in Opus.
#
#   scripts/media.sh [FOLDER]      (default: loadtest/media)
#
# A file that is there already is kept. FFmpeg is the one that PyPI's imageio-ffmpeg brings (tests/.venv, made by
# tests/setup.sh), else the one that ION_FFMPEG names, else the one in PATH; it needs libvpx, libx264 and libopus.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-loadtest/media}
python=tests/.venv/bin/python

if [ -n "${ION_FFMPEG:-}" ]; then
    ffmpeg=$ION_FFMPEG
elif ffmpeg=$("$python" -c 'import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())' 2>/dev/null); then
    :
elif ! ffmpeg=$(command -v ffmpeg); then
    echo 'media: there is no FFmpeg: run tests/setup.sh, or name one by ION_FFMPEG' >&2
    exit 1
fi

seconds=10 fps=30
keyframe_every=$((2 * fps))
# Noise keeps every frame about as large as the rate allows: a still test card would send next to nothing between keyframes.
picture() { # picture SIZE
    echo "testsrc2=s=$1:r=$fps,noise=alls=14:allf=t:all_seed=7"
}
# A sweep from 200 to 1,800 Hz and noise: no two packets are alike.
sound="aevalsrc='0.3*sin(2*PI*(200+80*t)*t)+0.05*(random(0)-0.5)|0.3*sin(2*PI*(300+60*t)*t)+0.05*(random(1)-0.5)':s=48000"

mkdir -p "$folder"
# encode NAME FFMPEG-ARGUMENT...: a file appears under its name only when it is whole.
encode() {
    local name=$1
    shift
    if [ -s "$folder/$name" ]; then return; fi
    echo "media: encodes $folder/$name"
    "$ffmpeg" -hide_banner -nostdin -loglevel error -y "$@" "$folder/.$name.part"
    mv "$folder/.$name.part" "$folder/$name"
}

for rate in 500k 1500k 2200k; do
    kilobits=${rate%k}
    size=1280x720
    if [ "$kilobits" -lt 1000 ]; then size=640x360; fi
    constant=(-b:v "$rate" -maxrate "$rate" -bufsize "$((kilobits / 2))k" -g "$keyframe_every" -keyint_min "$keyframe_every" -t "$seconds")
    encode "vp8-$rate.ivf" -f lavfi -i "$(picture $size)" -c:v libvpx -deadline realtime -cpu-used 8 -threads 2 -lag-in-frames 0 \
        -auto-alt-ref 0 -error-resilient default -minrate "$rate" -undershoot-pct 5 "${constant[@]}" -f ivf
    encode "h264-$rate.h264" -f lavfi -i "$(picture $size)" -c:v libx264 -profile:v baseline -level:v 3.1 -preset veryfast -tune zerolatency \
        -pix_fmt yuv420p -bf 0 -sc_threshold 0 -x264-params sliced-threads=0:slices=1:aud=0 "${constant[@]}" -f h264
done
# 117 bytes each 20 ms: 129 with the RTP header, as audio packets were found to be in meetings.
encode opus.ogg -f lavfi -i "$sound" -c:a libopus -b:a 46800 -vbr off -frame_duration 20 -application audio -t "$seconds" -f ogg
