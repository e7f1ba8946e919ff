"""A node on Redis, from docs/wire.md alone: redis_node.py HOST PORT CLUSTER NAME EVENT COUNT."""

import json
import secrets
import socket
import struct
import sys
import time
import zlib

from msgpack import packb, unpackb

HOST, PORT, CLUSTER, NAME, EVENT, COUNT = sys.argv[1:]
DATA, HEARTBEAT, REQUEST, HELLO, BYE, OBSERVER, REPEAT, TRAILER = 1, 2, 3, 1, 2, 4, 8, 16
CHANNEL, EPOCH, BORN = f"bus.{CLUSTER}".encode(), secrets.randbits(63) + 1, time.monotonic_ns() // 1000
EVENTS = b"\xdd\0\0\0\1" + packb(json.loads(EVENT))
peers: dict[int, list[int]] = {}  # epoch -> its entry in our heartbeats: [epoch, position, lost, heard, sent]


def send(kind: int, flags: int = 0, sent: int = 1, stamp: int = 0) -> int:
    now, one = stamp or time.monotonic_ns() // 1000, int(kind == DATA)
    beat = {"n": NAME, "c": now, "u": now - BORN, "l": 1, "s": sent, "p": [*peers.values()][:8]}
    body = packb(beat) if kind == HEARTBEAT else EVENTS
    head = struct.pack("<HBBHHQQQB3x", 0xB05C, 1, kind, flags, one, EPOCH, one, now, 0)
    frame = head + struct.pack("<I", zlib.crc32(head + body)) + body
    words = [b"$%d\r\n%b\r\n" % (len(word), word) for word in (b"PUBLISH", CHANNEL, frame)]
    link.sendall(b"*3\r\n" + b"".join(words))
    return now


link = socket.create_connection((HOST, int(PORT)))
link.sendall(b"HELLO 3\r\nSUBSCRIBE %b\r\n" % CHANNEL)
send(HEARTBEAT, HELLO, sent=0)
published_us = send(DATA)
stream, printed, confirmed, due = link.makefile("rb"), 0, False, 0
while printed < int(COUNT) or not confirmed:
    # The word "message", then the channel and the frame, each after a line with its length.
    lines = [stream.readline() for _ in range(3)] if stream.readline() == b"message\r\n" else [b"$0"]
    frame = stream.read(int(lines[-1][1:])).ljust(40, b"\0")
    magic, _, kind, flags, _, epoch, first, sent_us, _, crc = struct.unpack_from("<HBBHHQQQB3xI", frame)
    if magic != 0xB05C or epoch == EPOCH or crc != zlib.crc32(frame[:36] + frame[40:]):
        continue
    now, trailer = time.monotonic_ns() // 1000, int.from_bytes(frame[-4:], "little") + 4
    body = unpackb(frame[40:-trailer] if flags & TRAILER else frame[40:])
    if kind == HEARTBEAT and not flags & OBSERVER:
        position = 0 if body["u"] <= now - BORN else body.get("l", 0)
        peers.setdefault(epoch, [epoch, position, 0])[3:] = now, sent_us
        confirmed |= [EPOCH, 1] in [entry[:2] for entry in body.get("p", [])]
    elif kind == DATA and epoch in peers:
        for number, event in enumerate(body, first):
            if number == peers[epoch][1] + 1:
                print(json.dumps({"epoch": epoch, "number": number, "event": event}), flush=True)
                peers[epoch][1], printed = number, printed + 1
    elif kind == REQUEST and EPOCH in [wanted[0] for wanted in body["r"]]:
        due = send(DATA, REPEAT, stamp=published_us)  # long past: a heartbeat follows at once
    if now >= due or (kind == HEARTBEAT and flags & HELLO):
        send(HEARTBEAT)
        due = now + 1_000_000
for _ in range(2):
    send(HEARTBEAT, BYE)
