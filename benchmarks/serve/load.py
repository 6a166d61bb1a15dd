"""Load on servers that speak OpenAI's completions: README.md. Standard library alone."""

import argparse
import asyncio
import json
import pathlib
import random
import signal
import socket
import subprocess
import time
import urllib.request

WORDS = ("the river boat town captain bridge night water old man slowly under a dark moved lived life house "
         "road over and then he she said that was not very good time long way").split()


def prompt(rng, words):
    return " ".join(rng.choice(WORDS) for _ in range(words))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def resident(pid):
    """MiB."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise SystemExit("the server is gone")


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else float("nan")


class Closed(Exception):
    """The server ended a connection before it answered."""


class Load:
    def __init__(self, port, options):
        self.port, self.options = port, options
        self.first, self.between, self.errors = [], [], []
        self.requests = self.tokens = 0

    async def ask(self, reader, writer, rng):
        body = json.dumps({"prompt": prompt(rng, rng.randint(*self.options.words)), "stream": True,
                           "max_tokens": self.options.tokens, "temperature": 1, "top_p": 1, "top_k": 0,
                           "min_p": 0, "seed": rng.randrange(1 << 30)}).encode()
        start = last = time.perf_counter()
        writer.write(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                     b"Content-Length: %d\r\n\r\n" % len(body) + body)
        status = await reader.readline()
        if not status:
            raise Closed
        if b" 200 " not in status:
            raise RuntimeError(status.decode(errors="replace").strip())
        pieces = 0
        while True:
            line = await reader.readline()
            if not line:
                raise RuntimeError("closed within an answer")
            if line.startswith(b"data: [DONE]"):
                break
            if not line.startswith(b"data: "):
                continue
            event = json.loads(line[6:])
            if "error" in event:
                raise RuntimeError(str(event["error"]))
            if not any(choice["text"] for choice in event.get("choices", ())):
                continue
            now = time.perf_counter()
            (self.between if pieces else self.first).append(now - last)
            last = now
            pieces += 1
        while await reader.readline() != b"0\r\n":  # the end of the chunked body
            pass
        await reader.readline()
        self.requests += 1
        self.tokens += pieces
        return time.perf_counter() - start

    async def client(self, number, end):
        rng = random.Random(number)
        writer = None
        while time.perf_counter() < end:
            try:
                fresh = writer is None
                if fresh:
                    reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                await self.ask(reader, writer, rng)
            except (Closed, RuntimeError, OSError, ValueError) as error:
                # A connection may end between two requests; a new one may not.
                if fresh or not isinstance(error, Closed):
                    self.errors.append(repr(error))
                if writer is not None:
                    writer.close()
                writer = None
        if writer is not None:
            writer.close()

    async def run(self, connections, seconds):
        end = time.perf_counter() + seconds
        await asyncio.gather(*(self.client(i, end) for i in range(connections)))


def start(command):
    port = free_port()
    process = subprocess.Popen([part.replace("PORT", str(port)) for part in command],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(600):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
                if answer.status == 200:
                    return process, port
        except OSError:
            time.sleep(0.1)
        if process.poll() is not None:
            raise SystemExit(f"{command[0]} ended with {process.returncode}")
    raise SystemExit(f"{command[0]} does not answer")


def measure(name, command, options):
    process, port = start(command)
    try:
        for connections in options.connections:
            warm = Load(port, options)  # memory that a first burst needs is no leak
            asyncio.run(warm.run(connections, options.warm))
            before = resident(process.pid)
            load = Load(port, options)
            begun = time.perf_counter()
            asyncio.run(load.run(connections, options.seconds))
            took = time.perf_counter() - begun
            ms = [1000 * percentile(values, share) for values in (load.first, load.between)
                  for share in (0.5, 0.99)]
            print(f"| {name} | {connections} | {took:.0f} | {load.requests} | {len(load.errors)} | "
                  f"{load.tokens / took:.0f} | " + " | ".join(f"{m:.1f}" for m in ms) +
                  f" | {before:.1f} | {resident(process.pid):.1f} |", flush=True)
            for error in sorted(set(load.errors))[:3]:
                print("  ", error)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", action="append", required=True, metavar="NAME=COMMAND",
                        help="a server to start; PORT in its command is a free port")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--seconds", type=float, default=600, help="of each measurement")
    parser.add_argument("--warm", type=float, default=5, help="seconds before each, not counted")
    parser.add_argument("--tokens", type=int, default=32, help="written by each request")
    parser.add_argument("--words", type=int, nargs=2, default=[20, 200], help="of a prompt: least, most")
    options = parser.parse_args()
    print("| server | connections | seconds | requests | errors | tokens/s | first p50 ms | first p99 | "
          "between p50 ms | between p99 | RSS MiB before | after |\n|---|" + "---:|" * 11)
    for server in options.server:
        name, _, command = server.partition("=")
        measure(name, command.split(), options)
