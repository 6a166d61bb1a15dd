"""pith serve: mistakes and attacks get a clear status and the server stays up; who goes away costs nothing
more; keys, origins, signals."""

import contextlib
import signal
import socket
import time

from serving import PROMPT, Server
from support import MODELS, SMALL, TEXT, Case, wait_until


class Refusals(Case):
    @classmethod
    def setUpClass(cls):
        cls.server = Server("--max-running", "2", "--max-waiting", "2", "--max-body", "100000",
                            "--max-prompt", "3000").__enter__()
        cls.addClassCleanup(cls.server.__exit__)

    def tearDown(self):  # whatever it was, the server is up
        self.assertEqual(self.server.call("GET", "/health")[0], 200)
        self.assertEqual(len(self.server.complete(max_tokens=2)["choices"]), 1)

    def refuses(self, status, body, *words, path="/v1/completions", headers=None):
        got, _, answer = self.server.call("POST", path, body, headers)
        self.assertEqual(got, status, answer)
        self.assertEqual(set(answer["error"]), {"message", "type", "param", "code"})
        for word in words:
            self.assertIn(word, answer["error"]["message"])

    def test_bodies(self):
        good = {"prompt": PROMPT}
        self.refuses(400, "{", "not valid JSON")
        self.refuses(400, "", "not valid JSON")
        self.refuses(400, b'{"prompt": "\xff"}', "not valid JSON")
        self.refuses(400, "[" * 40000 + "]" * 40000, "nested")
        self.refuses(400, {**good, "max_tokens": 10**30}, "max_tokens")
        self.refuses(400, '{"prompt": "x", "temperature": 1e999}')
        self.refuses(400, {**good, "temperature": -1}, "temperature")
        self.refuses(400, {**good, "top_p": 2}, "top-p")
        self.refuses(400, {**good, "stop": ["x"] * 10000}, "stop", "10000")
        self.refuses(400, {"prompt": ["x"] * 5}, "5 texts", "at most 4")
        self.refuses(400, {"prompt": ""}, "no tokens")
        self.refuses(400, {"prompt": [8192]}, "8192")
        self.refuses(400, {"prompt": [5] * 3001}, "3001", "3000")
        self.refuses(400, {**good, "logprobs": 100}, "logprobs")
        self.refuses(404, {**good, "model": "gpt"}, "gpt", "pith-13m-mamba1")
        self.refuses(413, "x" * 100001, "100001", "100000")
        self.refuses(400, {"messages": []}, "messages", path="/v1/chat/completions")
        self.refuses(400, {"tokens": [-1]}, "tokens", path="/detokenize")

    def test_reductions(self):
        def with_reduction(text):
            return {"prompt": TEXT, "pith": {"reduce": text}}

        self.refuses(400, with_reduction("utrk@20%"), "utrk", "utrc")
        self.refuses(400, with_reduction("utrc@99%"), "99")
        # No path from a request reaches the file system.
        for text in ("ltmp@20%:thresholds=/etc/passwd", "utrc@20%:importance=rarity,table=/etc/passwd",
                     "@/etc/passwd"):
            self.refuses(400, with_reduction(text))
            self.refuses(400, {"prompt": TEXT}, headers={"X-Pith-Reduce": text})
            if text[0] != "@":
                self.refuses(400, {"prompt": TEXT, "model": "pith-13m-mamba1#" + text},
                             "names a file")
        self.refuses(400, {**with_reduction("utrc@20%"), "echo": True, "logprobs": 1},
                     "read whole")

    def test_bodies_of_unknown_length_end_the_connection(self):
        # What follows must not be taken for a request.
        second = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
        chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(second), second)
        heads = {
            b"POST /v1/completions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n": (b"411", chunked),
            b"POST /v1/completions HTTP/1.1\r\n": (b"411", second),
            b"POST /v1/completions HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n":
                (b"411", second),
            b"POST /v1/completions HTTP/1.1\r\nContent-Length: -5\r\n": (b"400", second),
            b"POST /v1/completions HTTP/1.1\r\nContent-Length: 9999999999\r\n": (b"413", second),
            b"POST /v1/completions HTTP/1.1\r\nContent-Encoding: gzip\r\nContent-Length: 35\r\n":
                (b"415", second),
            b"GET /health HTTP/1.1\r\nContent-Length: 35\r\n": (b"400", second),
            b"PUT /health HTTP/1.1\r\nContent-Length: 35\r\n": (b"405", second),
        }
        for head, (status, body) in heads.items():
            answer = self.server.raw(head + b"Host: x\r\n\r\n" + body)
            self.assertTrue(answer.startswith(b"HTTP/1.1 " + status), (head, answer))
            self.assertEqual(answer.count(b"HTTP/1.1"), 1, answer)
            self.assertNotIn(b"pith_texts", answer)

    def test_no_http(self):
        for data in (b"\x00\xff\x16\x03\x01" * 20 + b"\r\n\r\n", b"GET\r\n\r\n",
                     b"GET " + b"/" * 20000 + b" HTTP/1.1\r\n\r\n"):
            answer = self.server.raw(data)
            self.assertTrue(answer == b"" or answer.startswith(b"HTTP/1.1 4"), answer)
        self.assertEqual(self.server.call("GET", "/../../etc/passwd")[0], 404)

    def test_who_drips_is_cut_off(self):
        # A byte now and then is no silence, and still the request must be there in its time. What
        # comes afterwards is no request.
        second = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
        heads = (b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n",
                 b"GET /health HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        with Server("--request-seconds", "1", "--connections", "8") as server:
            start = time.monotonic()
            drips = [socket.create_connection(("127.0.0.1", server.port), timeout=60)
                     for _ in range(8)]  # all that there are
            for i, client in enumerate(drips):
                client.sendall(heads[i % 2])
            answers = [b""] * len(drips)
            open_ones = set(range(len(drips)))
            while open_ones:
                self.assertLess(time.monotonic() - start, 30)
                time.sleep(0.1)
                for i in list(open_ones):
                    with contextlib.suppress(OSError):  # closed; there may be an answer to read
                        drips[i].sendall(second if answers[i] else b"x")
                    try:
                        drips[i].settimeout(0.01)
                        part = drips[i].recv(65536)
                        answers[i] += part
                        if not part:
                            open_ones.discard(i)
                    except TimeoutError:
                        pass
                    except OSError:  # reset: it was closed before
                        open_ones.discard(i)
            for client in drips:
                client.close()
            for answer in answers:
                self.assertNotIn(b"pith_texts", answer)
                self.assertLessEqual(answer.count(b"HTTP/1.1"), 1)
                self.assertTrue(answer.startswith(b"HTTP/1.1 408"), answer)
            self.assertEqual(server.call("GET", "/health")[0], 200)

    def test_too_many(self):
        clients = [self.server.begin(stream=True) for _ in range(4)]
        try:
            self.server.wait_for(pith_texts_writing=2, pith_texts_waiting=2)
            status, headers, answer = self.server.call("POST", "/v1/completions",
                                                       {"prompt": PROMPT})
            self.assertEqual(status, 429, answer)
            self.assertEqual(answer["error"]["type"], "rate_limit_error")
            self.assertEqual(headers["Retry-After"], "1")
        finally:
            for client in clients:
                client.close()
            self.server.wait_until_idle()

    def test_who_goes_away_stops_the_work(self):
        for stream in (True, False):
            clients = [self.server.begin(stream=stream) for _ in range(4)]  # two of them wait
            self.server.wait_for(pith_texts_writing=2, pith_texts_waiting=2)
            for client in clients:
                client.close()
            self.server.wait_until_idle()

    def test_time(self):
        with Server("--max-seconds", "0.5") as server:
            start = time.monotonic()
            answer = server.complete(max_tokens=1 << 20, temperature=1, seed=1)
            self.assertLess(answer["usage"]["completion_tokens"], 1 << 20)
            self.assertGreaterEqual(time.monotonic() - start, 0.5)


class Doors(Case):
    def test_key(self):
        import os
        for server in (Server("--api-key", "geheim"),
                       Server(env={**os.environ, "PITH_API_KEY": "geheim"})):
            with server:
                for header in ({}, {"Authorization": "Bearer geheim2"},
                               {"Authorization": "Bearer gehei"}, {"Authorization": "geheim"}):
                    status, _, answer = server.call("POST", "/v1/completions",
                                                    {"prompt": PROMPT}, header)
                    self.assertEqual(status, 401)
                    self.assertEqual(answer["error"]["type"], "authentication_error")
                    self.assertEqual(server.call("GET", "/metrics", None, header)[0], 401)
                server.complete(headers={"Authorization": "Bearer geheim"})
                self.assertEqual(server.call("GET", "/health")[0], 200)

    def test_cors(self):
        with Server() as server:
            self.assertNotIn("Access-Control-Allow-Origin", server.call("GET", "/health")[1])
        with Server("--cors", "https://example.org") as server:
            _, headers, _ = server.call("GET", "/health")
            self.assertEqual(headers["Access-Control-Allow-Origin"], "https://example.org")
            status, headers, _ = server.call("OPTIONS", "/v1/completions")
            self.assertEqual(status, 204)
            self.assertIn("X-Pith-Reduce", headers["Access-Control-Allow-Headers"])

    def test_pages_of_other_origins(self):
        def post(server, origin, host=None, path="/v1/completions"):
            headers = {"Origin": origin, "Content-Type": "text/plain"}  # needs no preflight
            if host:
                headers["Host"] = host
            body = {"prompt": PROMPT, "max_tokens": 1}
            status, _, answer = server.call("POST", path, body, headers)
            if status == 403:
                self.assertEqual(set(answer["error"]), {"message", "type", "param", "code"})
                self.assertIn("Origin" if not host else "Host", answer["error"]["message"])
            return status

        with Server() as server:
            own = f"http://127.0.0.1:{server.port}"
            local = f"localhost:{server.port}"
            for path in ("/v1/completions", "/inspect", "/nowhere"):
                self.assertEqual(post(server, "https://example.org", path=path), 403)
            self.assertEqual(post(server, "null"), 403)
            self.assertEqual(post(server, f"http://127.0.0.1:{server.port + 1}"), 403)
            self.assertEqual(post(server, own), 200)
            self.assertEqual(post(server, "http://" + local, local), 200)
            self.assertEqual(post(server, "http://evil.example", "evil.example"), 403)  # rebinding
            self.assertEqual(post(server, "https://pith.example", "pith.example"), 200)  # a proxy
            # What is refused was not read: it is no second request, and no text was begun.
            inner = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
            answer = server.raw(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nOrigin: http://y\r\n"
                                b"Content-Length: %d\r\n\r\n" % len(inner) + inner)
            self.assertTrue(answer.startswith(b"HTTP/1.1 403"), answer)
            self.assertEqual(answer.count(b"HTTP/1.1"), 1, answer)
            two = server.raw(b"GET /health HTTP/1.1\r\nHost: x\r\nOrigin: http://x\r\n"
                             b"Origin: http://y\r\n\r\n")
            self.assertTrue(two.startswith(b"HTTP/1.1 403"), two)
            for method in ("GET", "DELETE", "OPTIONS"):
                self.assertEqual(server.call(method, "/v1/models", None, {"Origin": "http://y"})[0],
                                 403)
            self.assertEqual(server.metric("pith_texts_total"), 3)
        with Server("--cors", "https://example.org") as server:
            self.assertEqual(post(server, "https://example.org"), 200)
            self.assertEqual(post(server, "https://example.com"), 403)
        with Server("--cors", "*") as server:
            self.assertEqual(post(server, "null"), 200)

    def test_port(self):
        with Server() as server:
            self.fails(3, "serve", "--model", SMALL, "--port", server.port,
                       names=(server.port, "127.0.0.1"))
        self.fails(2, "serve", "--model", SMALL, "--port", "70000", names=("port",))
        self.fails(2, "serve", "--model", SMALL, "--reduce", "utrk", names=("utrk",))

    def test_options(self):
        with Server("--name", "otter", "--reduce", "utrc@20%", "--bos", model=MODELS[1]) as server:
            answer = server.complete(TEXT * 2, model="otter")
            self.assertEqual(answer["model"], "otter")
            self.assertEqual(answer["usage"]["pith"]["reduce"], "utrc@20%")
            self.assertEqual(server.post("/tokenize", {"prompt": "a"})["tokens"][0], 0)
            self.assertEqual(server.call("GET", "/tokenizer_info")[2]["bos_token"],
                             "<|endoftext|>")

    def test_stopping_finishes_what_runs(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with Server() as server:
                running = server.begin(stream=True, max_tokens=300)
                running.recv(1)
                server.process.send_signal(number)
                answer = b""
                while part := running.recv(65536):
                    answer += part
                self.assertIn(b"data: [DONE]", answer)
                running.close()
                self.assertEqual(server.process.wait(60), 0)

    def test_stopping_cancels_what_waits(self):
        with Server("--max-running", "1") as server:
            running = server.begin(stream=True)
            running.recv(1)
            waiting = server.begin(stream=True)
            server.wait_for(pith_texts_waiting=1)
            server.process.send_signal(signal.SIGTERM)
            self.assertTrue(waiting.recv(65536).startswith(b"HTTP/1.1 503"))
            # Whoever comes later learns the same, and what runs is still written.
            status, _, answer = server.call("POST", "/v1/completions", {"prompt": PROMPT})
            self.assertEqual((status, server.call("GET", "/health")[0]), (503, 503), answer)
            for _ in range(100):
                self.assertGreater(len(running.recv(65536)), 0)
            running.close()
            waiting.close()
            self.assertEqual(server.process.wait(60), 0)

    def test_stopping_before_it_listens(self):
        for _ in range(5):
            with Server() as server:  # the port is known, and nothing else
                server.process.send_signal(signal.SIGTERM)
                self.assertEqual(server.process.wait(60), 0)

    def test_a_second_signal_stops_at_once(self):
        with Server() as server:
            running = server.begin(stream=True)
            running.recv(1)
            server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: server.call("GET", "/health")[0] == 503)
            server.process.send_signal(signal.SIGINT)
            self.assertEqual(server.process.wait(60), -signal.SIGINT)
            running.close()
