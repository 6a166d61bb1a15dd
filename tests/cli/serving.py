"""A `pith serve` for the tests, spoken to with the standard library alone."""

import http.client
import json
import socket
import subprocess
import time

import support
from support import SMALL

PROMPT = "It was a dark night on the river"


class Server:
    """A server of the small model on a free port, until the block ends."""

    def __init__(self, *options, model=SMALL, env=None):
        self.command = [str(support.program), "serve", "--model", str(model), "--port", "0",
                        *map(str, options)]
        self.env = env

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True, env=self.env)
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(self.process.communicate()[1])
        self.port = int(line.rsplit(":", 1)[1])
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)

    def call(self, method, path, body=None, headers=None):
        """Status, headers and body, which is read as JSON where it says so."""
        connection = self.connect()
        try:
            data = json.dumps(body) if isinstance(body, (dict, list)) else body
            connection.request(method, path, data, headers or {})
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if text and answer.headers.get("Content-Type", "").startswith("application/json"):
            text = json.loads(text)
        return answer.status, answer.headers, text

    def post(self, path, body, headers=None):
        status, _, answer = self.call("POST", path, body, headers)
        if status != 200:
            raise AssertionError((status, answer))
        return answer

    def complete(self, prompt=PROMPT, headers=None, **fields):
        return self.post("/v1/completions", {"prompt": prompt, "temperature": 0, **fields},
                         headers)

    def stream(self, path, body):
        """The JSON pieces of a stream that ends as it should."""
        status, headers, text = self.call("POST", path, {**body, "stream": True})
        assert status == 200 and headers["Content-Type"] == "text/event-stream", (status, text)
        events = text.decode().split("\n\n")
        assert events[-2:] == ["data: [DONE]", ""], events[-2:]
        return [json.loads(event.removeprefix("data: ")) for event in events[:-2]]

    def metrics(self, *names):
        """Their values at one moment."""
        _, _, text = self.call("GET", "/metrics")
        lines = (line.rsplit(" ", 1) for line in text.decode().splitlines())
        values = {name: float(value) for name, value in lines if name in names}
        assert len(values) == len(names), (names, values)
        return values

    def metric(self, name):
        return self.metrics(name)[name]

    def wait_for(self, **values):
        """Until all of them hold at one moment."""
        for _ in range(600):
            got = self.metrics(*values)
            if got == values:
                return
            time.sleep(0.05)
        raise AssertionError((got, values))

    def wait_until_idle(self):
        # A text that waited is read before it is written: no count alone says that none is left.
        self.wait_for(pith_texts_waiting=0, pith_texts_reading=0, pith_texts_writing=0)

    def begin(self, **fields):
        """A socket over which an endless text is asked for."""
        body = json.dumps({"prompt": PROMPT, "max_tokens": 1 << 20, "seed": 1, **fields}).encode()
        client = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        client.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
                       % len(body) + body)
        return client

    def raw(self, data):
        """Everything that comes back for these bytes until the server closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as client:
            client.sendall(data)
            answer = b""
            while part := client.recv(65536):
                answer += part
        return answer
