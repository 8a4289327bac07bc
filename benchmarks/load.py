"""A load client: devices that post prebuilt bodies over keep-alive connections, and bare COPY to compare with.

Run as a program of its own, so that its work is not the web server's: takes pickled jobs on standard input, answers
with JSON on standard output.
"""

from __future__ import annotations

import json
import pickle
import socket
import sys
import threading
import time
from dataclasses import dataclass

import psycopg

SEQ = b"@@@@@@@@@"  # replaced by a number of as many digits, so that lengths stay


@dataclass(frozen=True)
class HttpJob:
    """One connection's work: bodies to post in turn for some seconds, at a pace (seconds per request) or at once.

    `phase` are the seconds before the first: devices that keep a pace do not all send at the same moment.
    """

    port: int
    token: str
    bodies: list[bytes]
    seconds: float
    first_seq: int
    encoding: str = ""
    pace: float = 0.0
    phase: float = 0.0


@dataclass(frozen=True)
class CopyJob:
    """One connection's work: a stream to COPY and commit again and again for some seconds."""

    url: str
    statement: str
    streams: list[bytes]
    seconds: float


def answer(connection: socket.socket) -> tuple[bytes, bytes]:
    """Head and content of the next answer on a connection that goes on."""
    read = connection.recv(65536)
    while b"\r\n\r\n" not in read:
        read += connection.recv(65536)
    head, _, content = read.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    while len(content) < length:
        content += connection.recv(65536)
    return head, content


def post(job: HttpJob) -> tuple[int, float, list[float]]:
    """Post until the time is over; how many were stored, seconds, and the time to each acknowledgement."""
    connection = socket.create_connection(("127.0.0.1", job.port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    encoding = f"Content-Encoding: {job.encoding}\r\n" if job.encoding else ""
    heads = [
        (
            f"POST /api/v1/telemetry HTTP/1.1\r\nHost: benchmark\r\nAuthorization: Bearer {job.token}\r\n"
            f"Content-Type: application/json\r\n{encoding}Content-Length: {len(body)}\r\n\r\n"
        ).encode()
        for body in job.bodies
    ]
    waits, n = [], 0
    start = time.perf_counter()
    while (now := time.perf_counter()) - start < job.seconds:
        if job.pace:
            due = start + job.phase + n * job.pace
            if due > now:
                time.sleep(due - now)
        if job.encoding and n >= len(job.bodies):
            break
        body = job.bodies[n % len(job.bodies)]
        if not job.encoding:
            body = body.replace(SEQ, b"%09d" % (100_000_000 + job.first_seq + n), 1)
        sent = time.perf_counter()
        connection.sendall(heads[n % len(job.bodies)] + body)
        head, rest = answer(connection)
        waits.append(time.perf_counter() - sent)
        if not head.startswith(b"HTTP/1.1 200") or b'"rejected":0' not in rest or b'"duplicate":false' not in rest:
            raise SystemExit(f"The server answered {head[:80]!r} {rest[:500]!r}")
        n += 1
    return n, time.perf_counter() - start, waits


def copy(job: CopyJob) -> tuple[int, float, list[float]]:
    """COPY and commit until the time is over; as `post`."""
    waits, n = [], 0
    with psycopg.connect(job.url) as connection:
        start = time.perf_counter()
        while time.perf_counter() - start < job.seconds:
            sent = time.perf_counter()
            with connection.cursor().copy(job.statement) as stream:
                stream.write(job.streams[n % len(job.streams)])
            connection.commit()
            waits.append(time.perf_counter() - sent)
            n += 1
        return n, time.perf_counter() - start, waits


def main() -> None:
    """Do one connection's work per thread and print what came of it."""
    jobs = pickle.load(sys.stdin.buffer)
    results: list = [None] * len(jobs)

    def run(at: int) -> None:
        job = jobs[at]
        results[at] = post(job) if isinstance(job, HttpJob) else copy(job)

    threads = [threading.Thread(target=run, args=(at,)) for at in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if None in results:
        raise SystemExit(1)
    json.dump(results, sys.stdout)
