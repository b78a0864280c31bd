"""aiortc publishes to a room and plays it: WHIP and WHEP by a stack that is neither a browser's nor libdatachannel's.

Writes one JSON object on standard output: frames sent and decoded over the window, audio energy, and what each leg negotiated.
"""

import argparse
import array
import asyncio
import fractions
import json
import time
import urllib.request

import av
from aiortc import AudioStreamTrack, RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription, VideoStreamTrack

WIDTH, HEIGHT, FPS = 320, 240, 30
CONNECT_TIMEOUT_S = 15


class MovingBars(VideoStreamTrack):
    """Grey bars that move, thirty times a second, until `stop_at` is reached."""

    def __init__(self):
        super().__init__()
        self.count = 0
        self.stopped = False
        self.start = None

    async def recv(self):
        if self.start is None:
            self.start = time.monotonic()
        await asyncio.sleep(max(0.0, self.start + self.count / FPS - time.monotonic()))
        while self.stopped:
            await asyncio.sleep(0.02)
        frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
        for at, plane in enumerate(frame.planes):
            row = bytes(((x + self.count * 2) * (4 if at == 0 else 1)) % 256 for x in range(plane.line_size))
            plane.update(row * plane.height)
        frame.pts = self.count * 90000 // FPS
        frame.time_base = fractions.Fraction(1, 90000)
        self.count += 1
        return frame


class Buzz(AudioStreamTrack):
    """A square wave of 440 Hz in 20 ms frames."""

    def __init__(self):
        super().__init__()
        self.count = 0
        self.start = None

    async def recv(self):
        if self.start is None:
            self.start = time.monotonic()
        await asyncio.sleep(max(0.0, self.start + self.count * 0.02 - time.monotonic()))
        first = self.count * 960
        samples = array.array("h", (8000 if (first + n) * 880 // 48000 % 2 else -8000 for n in range(960)))
        frame = av.AudioFrame(format="s16", layout="mono", samples=960)
        frame.planes[0].update(samples.tobytes())
        frame.sample_rate = 48000
        frame.pts = first
        frame.time_base = fractions.Fraction(1, 48000)
        self.count += 1
        return frame


class Sink:
    """Takes what arrives: counts video frames, adds up the energy of audio."""

    def __init__(self):
        self.frames = 0
        self.energy = 0.0

    async def take(self, track):
        try:
            while True:
                frame = await track.recv()
                if track.kind == "video":
                    self.frames += 1
                else:
                    samples = array.array("h", bytes(frame.planes[0]))
                    self.energy += sum(sample * sample for sample in samples[::16]) / 2**30
        except Exception:  # the track ended
            return


def post(url, sdp, method="POST"):
    request = urllib.request.Request(url, data=sdp.encode(), method=method, headers={"Content-Type": "application/sdp"})
    with urllib.request.urlopen(request, timeout=10) as response:
        return urllib.request.urljoin(url, response.headers.get("Location", "")), response.read().decode(), response.status


async def negotiate(pc, url):
    await pc.setLocalDescription(await pc.createOffer())
    resource, answer, _ = await asyncio.to_thread(post, url, pc.localDescription.sdp)
    await pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    deadline = time.monotonic() + CONNECT_TIMEOUT_S
    while pc.connectionState != "connected":
        if time.monotonic() > deadline or pc.connectionState == "failed":
            raise SystemExit(f"{url}: not connected, but {pc.connectionState}")
        await asyncio.sleep(0.05)
    return resource


def negotiated(pc):
    dtls = pc.getTransceivers()[0].sender.transport
    name = dtls._ssl.get_selected_srtp_profile().decode()
    return f"{dtls._ssl.get_protocol_version_name()} {dtls._ssl.get_cipher_name()} {name}"


async def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("server")
    parser.add_argument("room")
    parser.add_argument("--codec", default="VP8")
    parser.add_argument("--seconds", type=float, default=8)
    options = parser.parse_args()

    video, sink, tasks = MovingBars(), Sink(), []
    # aiortc's default is a STUN server of the internet: nothing leaves this machine.
    here = RTCConfiguration(iceServers=[])
    publisher, viewer = RTCPeerConnection(here), RTCPeerConnection(here)
    publisher.addTrack(Buzz())
    publisher.addTrack(video)
    wanted = [c for c in RTCRtpSender.getCapabilities("video").codecs if c.name.upper() in (options.codec, "RTX")]
    publisher.getTransceivers()[1].setCodecPreferences(wanted)
    resources = [await negotiate(publisher, f"{options.server}/whip/{options.room}")]

    viewer.on("track", lambda track: tasks.append(asyncio.ensure_future(sink.take(track))))
    viewer.addTransceiver("audio", direction="recvonly")
    viewer.addTransceiver("video", direction="recvonly")
    resources.append(await negotiate(viewer, f"{options.server}/whep/{options.room}"))

    deadline = time.monotonic() + CONNECT_TIMEOUT_S
    while sink.frames < 15 and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    if sink.frames == 0:
        raise SystemExit("no frame was decoded")
    # From here on, everything that is sent must be decoded: frames under way now count as neither.
    video.stopped = True
    await asyncio.sleep(0.7)
    sent, decoded, energy = video.count, sink.frames, sink.energy
    video.start = time.monotonic() - video.count / FPS
    video.stopped = False
    await asyncio.sleep(options.seconds)
    video.stopped = True
    await asyncio.sleep(1.0)
    result = {
        "sent": video.count - sent,
        "decoded": sink.frames - decoded,
        "audioEnergy": sink.energy - energy,
        "publisher": negotiated(publisher),
        "viewer": negotiated(viewer),
        "deleted": [],
    }
    for resource in resources:
        result["deleted"].append((await asyncio.to_thread(post, resource, "", "DELETE"))[2])
    print(json.dumps(result), flush=True)
    for task in tasks:
        task.cancel()
    await publisher.close()
    await viewer.close()


asyncio.run(main())
