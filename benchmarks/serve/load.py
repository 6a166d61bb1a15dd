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
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


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


async def sample(pid, every, samples):
    """Adds [seconds, MiB] until it is cancelled."""
    start = time.perf_counter()
    while True:
        samples.append([round(time.perf_counter() - start), round(resident(pid), 1)])
        await asyncio.sleep(every)


async def watched(load, pid, connections, seconds, every):
    samples = []
    sampler = asyncio.create_task(sample(pid, every, samples))
    start = time.perf_counter()
    try:
        await load.run(connections, seconds)
    finally:
        sampler.cancel()
    took = time.perf_counter() - start
    samples.append([round(took), round(resident(pid), 1)])
    return took, samples


def measure_one(process, port, connections, seconds, options):
    warm = Load(port, options)  # memory that a first burst needs is no leak
    asyncio.run(warm.run(connections, options.warm))
    load = Load(port, options)
    took, samples = asyncio.run(watched(load, process.pid, connections, seconds, options.sample))

    def shares(values):
        if not values:
            return {"p50": None, "p99": None}
        return {"p50": round(1000 * percentile(values, 0.5), 1),
                "p99": round(1000 * percentile(values, 0.99), 1)}

    return {"connections": connections, "seconds": round(took, 1), "requests": load.requests,
            "errors": len(load.errors), "tokens_per_second": round(load.tokens / took, 1),
            "first_ms": shares(load.first), "between_ms": shares(load.between),
            "rss_mib": samples, "error_texts": sorted(set(load.errors))[:3]}


def row(name, run):
    first, between, rss = run["first_ms"], run["between_ms"], run["rss_mib"]
    return (f"| {name} | {run['connections']} | {run['seconds']:.0f} | {run['requests']} | "
            f"{run['errors']} | {run['tokens_per_second']:.0f} | {first['p50']} | {first['p99']} | "
            f"{between['p50']} | {between['p99']} | {rss[0][1]} | {rss[-1][1]} |")


def measure(name, command, options):
    """Runs in the order of --connections, each printed as it is done."""
    process, port = start(command)
    runs = []
    try:
        for connections, seconds in zip(options.connections, options.seconds):
            run = measure_one(process, port, connections, seconds, options)
            runs.append(run)
            if not options.json:
                print(row(name, run), *run["error_texts"], sep="\n   ", flush=True)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    return runs


def read_options():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", action="append", required=True, metavar="NAME=COMMAND",
                        help="a server to start; PORT in its command is a free port")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--seconds", type=float, nargs="+", default=[600],
                        help="of each measurement: one for all, or one for each of --connections")
    parser.add_argument("--warm", type=float, default=5, help="seconds before each, not counted")
    parser.add_argument("--sample", type=float, default=10,
                        help="seconds between two looks at the server's resident memory")
    parser.add_argument("--tokens", type=int, default=32, help="written by each request")
    parser.add_argument("--words", type=int, nargs=2, default=[20, 200], help="of a prompt: least, most")
    parser.add_argument("--json", action="store_true", help="one object in place of a table")
    options = parser.parse_args()
    if len(options.seconds) == 1:
        options.seconds *= len(options.connections)
    if len(options.seconds) != len(options.connections):
        parser.error(f"--seconds: got {len(options.seconds)} numbers, expected 1 or "
                     f"{len(options.connections)}, as --connections has")
    return options


if __name__ == "__main__":
    options = read_options()
    if not options.json:
        print("| server | connections | seconds | requests | errors | tokens/s | first p50 ms | first p99 | "
              "between p50 ms | between p99 | RSS MiB before | after |\n|---|" + "---:|" * 11)
    servers = []
    for server in options.server:
        name, _, command = server.partition("=")
        runs = measure(name, command.split(), options)
        servers.append({"name": name, "command": command, "runs": runs})
    if options.json:
        print(json.dumps({"tokens": options.tokens, "words": options.words, "servers": servers}))
