"""A bridge between two interfaces that loses and delays packets: a network emulator where the kernel has no netem.

Runs in the middle namespace. Only UDP over IPv4 or IPv6 is lost, so that HTTP and ARP stay quick; everything is delayed. The seed
makes the series of losses of each direction the same in every run. SIGUSR1 cuts the wire, so that nothing passes, SIGUSR2 mends it. On
SIGTERM it writes its counters as one JSON object and ends.
"""

import argparse
import ctypes
import fcntl
import heapq
import json
import random
import select
import signal
import socket
import struct
import sys
import time

ETH_P_ALL = 0x0003
PACKET_OUTGOING = 4
SIOCETHTOOL = 0x8946
ETHTOOL_STXCSUM = 0x17
ETHTOOL_STSO = 0x1F
ETHTOOL_SGSO = 0x24
ETHTOOL_SGRO = 0x2C
MAX_FRAME = 65_600
# Packets that may be under way in one direction; beyond it they are dropped and counted, as a router's queue does.
QUEUE_LIMIT = 20_000
# RTP streams told apart by SSRC in one direction.
STREAM_LIMIT = 64


def offloads_off(name):
    """No merged packets and no unfinished checksums on this interface (ethtool(8) -K tx off tso off gso off gro off)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for command in (ETHTOOL_STXCSUM, ETHTOOL_STSO, ETHTOOL_SGSO, ETHTOOL_SGRO):
            # struct ifreq: the name, then a pointer to struct ethtool_value.
            value = (ctypes.c_uint32 * 2)(command, 0)
            request = struct.pack("16sP16x", name.encode(), ctypes.addressof(value))
            fcntl.ioctl(control, SIOCETHTOOL, request)


def is_udp(frame):
    kind = frame[12:14]
    if kind == b"\x08\x00":
        return len(frame) > 23 and frame[23] == 17
    return kind == b"\x86\xdd" and len(frame) > 20 and frame[20] == 17


def rtp_ssrc(frame):
    """SSRC of an RTP packet in a UDP datagram over IPv4 (it is in clear also in SRTP), or None."""
    if frame[12:14] != b"\x08\x00" or len(frame) < 14 + 20 + 8 + 12:
        return None
    payload = 14 + (frame[14] & 15) * 4 + 8
    if len(frame) < payload + 12 or frame[payload] >> 6 != 2 or 192 <= frame[payload + 1] <= 223:
        return None
    return int.from_bytes(frame[payload + 8 : payload + 12], "big")


class Direction:
    def __init__(self, source, target, loss, delay_s, seed):
        self.source = source
        self.target = target
        self.loss = loss
        self.delay_s = delay_s
        self.random = random.Random(seed)
        self.queue = []
        self.order = 0
        self.counts = {"udp": 0, "lost": 0, "other": 0, "overflow": 0, "refused": 0, "cut": 0, "longest": 0}
        self.is_cut = False
        self.streams = {}

    def receive(self, now):
        while True:
            try:
                frame, address = self.source.recvfrom(MAX_FRAME)
            except BlockingIOError:
                return
            if address[2] == PACKET_OUTGOING:
                continue
            if self.is_cut:
                self.counts["cut"] += 1
                continue
            self.counts["longest"] = max(self.counts["longest"], len(frame))
            if is_udp(frame):
                self.counts["udp"] += 1
                ssrc = rtp_ssrc(frame)
                if ssrc is not None and (ssrc in self.streams or len(self.streams) < STREAM_LIMIT):
                    stream = self.streams.setdefault(ssrc, {"packets": 0, "lost": 0})
                    stream["packets"] += 1
                else:
                    stream = {"lost": 0}
                if self.random.random() < self.loss:
                    stream["lost"] += 1
                    self.counts["lost"] += 1
                    continue
            else:
                self.counts["other"] += 1
            if len(self.queue) >= QUEUE_LIMIT:
                self.counts["overflow"] += 1
                continue
            self.order += 1
            heapq.heappush(self.queue, (now + self.delay_s, self.order, frame))

    def send(self, now):
        while self.queue and self.queue[0][0] <= now:
            try:
                self.target.send(heapq.heappop(self.queue)[2])
            except OSError:
                self.counts["refused"] += 1


def opened(name):
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    raw.bind((name, 0))
    raw.setblocking(False)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    return raw


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prepare", metavar="INTERFACE", help="only switch this interface's offloads off, and end")
    parser.add_argument("--a", help="interface towards A")
    parser.add_argument("--b", help="interface towards B")
    for way in ("ab", "ba"):
        parser.add_argument(f"--loss-{way}", type=float, default=0.0, help="share of UDP packets lost, 0 to 1")
        parser.add_argument(f"--delay-{way}", type=float, default=0.0, help="milliseconds")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.prepare:
        offloads_off(options.prepare)
        return
    a, b = opened(options.a), opened(options.b)
    ways = {
        "ab": Direction(a, b, options.loss_ab, options.delay_ab / 1000, options.seed),
        "ba": Direction(b, a, options.loss_ba, options.delay_ba / 1000, options.seed + 1),
    }
    running = True

    def stop(*_):
        nonlocal running
        running = False

    def cut(number, _):
        for way in ways.values():
            way.is_cut = number == signal.SIGUSR1

    signal.signal(signal.SIGUSR1, cut)
    signal.signal(signal.SIGUSR2, cut)
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    poll = select.poll()
    poll.register(a, select.POLLIN)
    poll.register(b, select.POLLIN)
    print(json.dumps({"ready": True}), flush=True)
    while running:
        due = min((way.queue[0][0] for way in ways.values() if way.queue), default=None)
        wait_ms = 200 if due is None else max(0.0, (due - time.monotonic()) * 1000)
        poll.poll(wait_ms)
        now = time.monotonic()
        for way in ways.values():
            way.receive(now)
            way.send(now)
    print(json.dumps({name: way.counts | {"streams": way.streams} for name, way in ways.items()}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
