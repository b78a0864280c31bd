"""GStreamer's webrtcbin publishes to a WHIP endpoint. Its DTLS certificate is RSA and its DTLS version 1.2.

Standard output: one JSON object a line, {"frames": encoded so far}; {"connected": {...}} once. A line `stop` on standard input ends
the video and keeps the session; `quit` deletes the session. Needs Debian's own Python (package python3-gi).
"""

import argparse
import json
import os
import sys
import threading
import urllib.parse
import urllib.request

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

VIDEO = {
    "VP8": "vp8enc name=enc deadline=1 keyframe-max-dist=60 target-bitrate=800000 cpu-used=8 error-resilient=1 ! rtpvp8pay name=pay pt=96 "
    "picture-id-mode=2",
    "VP9": "vp9enc name=enc deadline=1 keyframe-max-dist=60 target-bitrate=800000 cpu-used=8 ! rtpvp9pay name=pay pt=96 picture-id-mode=2",
    "H264": "x264enc name=enc tune=zerolatency speed-preset=ultrafast key-int-max=60 bitrate=800 ! "
    "video/x-h264,profile=constrained-baseline ! rtph264pay name=pay pt=96 config-interval=-1 aggregate-mode=zero-latency",
}
# Feedback webrtcbin offers only when the caps ask for it.
FEEDBACK = "rtcp-fb-nack=(boolean)true,rtcp-fb-nack-pli=(boolean)true,rtcp-fb-ccm-fir=(boolean)true"


def say(what):
    print(json.dumps(what), flush=True)


def only_loopback(rtc):
    """Keeps ICE on loopback: no search for UPnP routers on the other interfaces, no candidates from there."""
    ice = rtc.get_property("ice-agent")
    ice.emit("add-local-ip-address", "127.0.0.1")
    agent = ice.get_property("agent")
    agent.set_property("upnp", False)
    # The bindings take these for their own, and free them for the pipeline too when they let go: so keep them.
    return ice, agent


class Publisher:
    def __init__(self, url, codec, token):
        self.url = url
        self.token = token
        self.resource = None
        self.frames = 0
        self.loop = GLib.MainLoop()
        self.failed = None
        self.pipeline = Gst.parse_launch(
            "webrtcbin name=rtc bundle-policy=max-bundle "
            "videotestsrc name=video is-live=true pattern=ball ! video/x-raw,width=640,height=360,framerate=30/1 ! queue ! "
            f"{VIDEO[codec]} ! application/x-rtp,media=video,encoding-name={codec},payload=96,{FEEDBACK} ! rtc. "
            "audiotestsrc is-live=true wave=sine freq=440 ! audio/x-raw,rate=48000,channels=2 ! audioconvert ! queue ! opusenc ! "
            "rtpopuspay pt=97 ! application/x-rtp,media=audio,encoding-name=OPUS,payload=97 ! rtc."
        )
        self.rtc = self.pipeline.get_by_name("rtc")
        self.kept = only_loopback(self.rtc)
        encoder = self.pipeline.get_by_name("enc")
        encoder.get_static_pad("src").add_probe(Gst.PadProbeType.BUFFER, self.count)
        self.rtc.connect("notify::ice-gathering-state", self.gathering)
        self.rtc.connect("notify::connection-state", self.connection)
        bus = self.pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message::error", lambda _bus, message: self.fail(message.parse_error()[0].message))

    def count(self, _pad, _info):
        self.frames += 1
        return Gst.PadProbeReturn.OK

    def fail(self, why):
        self.failed = why
        self.loop.quit()

    def run(self):
        for index in range(2):
            transceiver = self.rtc.emit("get-transceiver", index)
            transceiver.set_property("direction", GstWebRTC.WebRTCRTPTransceiverDirection.SENDONLY)
        self.rtc.connect("on-negotiation-needed", self.negotiate)
        self.pipeline.set_state(Gst.State.PLAYING)
        GLib.timeout_add(100, self.report)
        threading.Thread(target=self.commands, daemon=True).start()
        self.loop.run()
        if self.resource:
            self.request(self.resource, "DELETE", b"")
        self.pipeline.set_state(Gst.State.NULL)
        return self.failed

    def report(self):
        say({"frames": self.frames})
        return True

    def commands(self):
        for line in sys.stdin:
            if line.strip() == "stop":
                # Drop everything behind the source: the encoder gets nothing more, the session stays.
                pad = self.pipeline.get_by_name("video").get_static_pad("src")
                pad.add_probe(Gst.PadProbeType.BUFFER, lambda *_: Gst.PadProbeReturn.DROP)
            elif line.strip() == "quit":
                break
        GLib.idle_add(self.loop.quit)

    def negotiate(self, rtc):
        rtc.emit("create-offer", None, Gst.Promise.new_with_change_func(self.offer_created))

    def offer_created(self, promise):
        # The offer lives inside the reply: keep that for as long as the offer is used.
        reply = promise.get_reply()
        offer = reply.get_value("offer")
        done = Gst.Promise.new()
        self.rtc.emit("set-local-description", offer, done)
        done.interrupt()

    def gathering(self, rtc, _spec):
        if rtc.get_property("ice-gathering-state") == GstWebRTC.WebRTCICEGatheringState.COMPLETE and self.resource is None:
            threading.Thread(target=self.post, daemon=True).start()

    def request(self, url, method, body):
        headers = {"Content-Type": "application/sdp"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        return urllib.request.urlopen(urllib.request.Request(url, data=body, method=method, headers=headers), timeout=10)

    def post(self):
        try:
            offer = self.rtc.get_property("local-description").sdp.as_text()
            with self.request(self.url, "POST", offer.encode()) as response:
                self.resource = urllib.parse.urljoin(self.url, response.headers["Location"])
                text = response.read()
            _, sdp = GstSdp.SDPMessage.new()
            GstSdp.sdp_message_parse_buffer(text, sdp)
            answer = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, sdp)
            self.rtc.emit("set-remote-description", answer, Gst.Promise.new())
        except Exception as error:  # whatever it was, the caller must hear of it
            body = error.read().decode(errors="replace") if hasattr(error, "read") else ""
            GLib.idle_add(self.fail, f"{self.url}: {error} {body}")

    def connection(self, rtc, _spec):
        state = rtc.get_property("connection-state")
        if state == GstWebRTC.WebRTCPeerConnectionState.CONNECTED:
            say({"connected": {"resource": self.resource}})
        elif state == GstWebRTC.WebRTCPeerConnectionState.FAILED:
            self.fail("the connection failed")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--codec", default="VP8", choices=sorted(VIDEO))
    parser.add_argument("--token", default="")
    options = parser.parse_args()
    Gst.init(None)
    failed = Publisher(options.url, options.codec, options.token).run()
    if failed:
        print(failed, file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    # No interpreter shutdown: it would let go of what must be kept.
    os._exit(1 if failed else 0)


main()
