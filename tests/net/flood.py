#!/usr/bin/env python3
"""Sends junk to a media port as fast as one process can, from addresses that are nobody's.

    flood.py --device veth-b --to 10.213.8.1 --port 7882 --mac 02:… --seconds 10

A third each of RTP of flows that nobody knows, STUN requests with unknown users, and beginnings of DTLS handshakes, each from another
source address of 198.18.0.0/15 (RFC 2544). Frames are made first and then written to the device. Prints how many.
"""

import argparse
import random
import socket
import struct
import time
import zlib


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def frame(to_mac: bytes, from_mac: bytes, source: str, target: str, port: int, payload: bytes, rng: random.Random) -> bytes:
    # No UDP checksum: on IPv4 it may be left out.
    udp = struct.pack("!HHHH", rng.randrange(1024, 65536), port, 8 + len(payload), 0) + payload
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, socket.inet_aton(source), socket.inet_aton(target))
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    return to_mac + from_mac + b"\x08\x00" + head + udp


def rtp(rng: random.Random) -> bytes:
    return struct.pack("!BBHII", 0x80, 96, rng.randrange(65536), rng.randrange(2**32), rng.randrange(2**32)) + rng.randbytes(200)


def stun(rng: random.Random) -> bytes:
    """A binding request (RFC 8489) with a username and a fingerprint, and an integrity that is none."""
    name = b"nobody:" + rng.randbytes(4).hex().encode() + b"\0"
    attributes = struct.pack("!HH", 0x0006, len(name)) + name + struct.pack("!HH", 0x0008, 20) + rng.randbytes(20)
    head = struct.pack("!HHI", 0x0001, len(attributes) + 8, 0x2112A442) + rng.randbytes(12)
    return head + attributes + struct.pack("!HHI", 0x8028, 4, zlib.crc32(head + attributes) ^ 0x5354554E)


def dtls(rng: random.Random) -> bytes:
    """The head of a ClientHello's first fragment (RFC 6347, 4.2.2)."""
    body = struct.pack("!B3sH3s3s", 1, b"\0\x05\x78", 0, b"\0\0\0", b"\0\0\xa0") + rng.randbytes(160)
    return struct.pack("!BHHIHH", 22, 0xFEFD, 0, 0, 0, len(body)) + body


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", required=True)
    parser.add_argument("--mac", required=True, help="Ethernet address of the other end")
    parser.add_argument("--to", required=True)
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument("--seconds", required=True, type=float)
    options = parser.parse_args()
    if not options.to.startswith("10.213."):
        parser.error("--to is an address of the tests' own namespaces: 10.213.0.0/16")

    rng = random.Random(1)
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    link.bind((options.device, 0))
    own = link.getsockname()[4]
    other = bytes.fromhex(options.mac.replace(":", ""))
    kinds = [rtp, stun, dtls]
    frames = [
        frame(other, own, f"198.{18 + n % 2}.{rng.randrange(256)}.{rng.randrange(1, 255)}", options.to, options.port, kinds[n % 3](rng), rng)
        for n in range(6000)
    ]
    end = time.monotonic() + min(options.seconds, 60)
    sent = refused = 0
    while time.monotonic() < end:
        for one in frames:
            try:
                link.send(one)
                sent += 1
            except OSError:
                refused += 1
    print(f'{{"sent": {sent}, "refused": {refused}, "seconds": {options.seconds}}}', flush=True)


if __name__ == "__main__":
    main()
