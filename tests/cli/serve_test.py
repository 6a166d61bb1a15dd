"""pith serve, spoken to with the standard library alone: the answers are those of the other verbs, whatever
else runs; mistakes and attacks get a clear status; who goes away costs nothing more."""

import concurrent.futures
import http.client
import json
import signal
import socket
import subprocess
import time

import support
from support import MODELS, SMALL, TEXT, Case

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

    def metric(self, name):
        _, _, text = self.call("GET", "/metrics")
        for line in text.decode().splitlines():
            if line.startswith(name + " "):
                return float(line.split()[1])
        raise AssertionError(name)

    def wait_for(self, name, value):
        for _ in range(600):
            if self.metric(name) == value:
                return
            time.sleep(0.05)
        raise AssertionError((name, self.metric(name)))

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


class Answers(Case):
    @classmethod
    def setUpClass(cls):
        cls.server = Server("--max-running", "8").__enter__()
        cls.addClassCleanup(cls.server.__exit__)

    def generate(self, *args):
        return self.json("generate", "--model", SMALL, "--json", *args)

    def test_completion_is_what_generate_writes(self):
        expected = self.generate("--prompt", TEXT, "--greedy", "--max-tokens", "24")
        answer = self.server.complete(TEXT, max_tokens=24)
        self.assertEqual(answer["object"], "text_completion")
        self.assertEqual(answer["choices"][0]["text"], expected["text"])
        self.assertEqual(answer["choices"][0]["finish_reason"], "length")
        self.assertEqual(answer["usage"]["prompt_tokens"], expected["prompt_tokens"])
        self.assertEqual(answer["usage"]["completion_tokens"], 24)
        drawn = self.generate("--prompt", TEXT, "--seed", "5", "--temperature", "0.8", "--top-p",
                              "0.9", "--top-k", "50", "--max-tokens", "24")
        answer = self.server.complete(TEXT, max_tokens=24, temperature=0.8, top_p=0.9, top_k=50,
                                      seed=5)
        self.assertEqual(answer["choices"][0]["text"], drawn["text"])

    def test_forms_of_a_prompt(self):
        ids = self.server.post("/tokenize", {"prompt": PROMPT})["tokens"]
        expected = self.server.complete(PROMPT)["choices"][0]["text"]
        for prompt in (ids, [ids], [PROMPT]):
            self.assertEqual(self.server.complete(prompt)["choices"][0]["text"], expected)
        answer = self.server.complete([PROMPT, TEXT], n=2)
        self.assertEqual([c["index"] for c in answer["choices"]], [0, 1, 2, 3])
        self.assertEqual([c["text"] for c in answer["choices"][:2]], [expected] * 2)
        self.assertEqual(self.server.post("/detokenize", {"tokens": ids})["prompt"], PROMPT)
        # Drawn texts of one prompt differ, and a seed gives the same ones again.
        fields = {"n": 3, "seed": 7, "temperature": 1}
        texts = [c["text"] for c in self.server.complete(PROMPT, **fields)["choices"]]
        self.assertEqual(len(set(texts)), 3)
        again = [c["text"] for c in self.server.complete(PROMPT, **fields)["choices"]]
        self.assertEqual(again, texts)

    def test_stop(self):
        whole = self.server.complete(max_tokens=40)["choices"][0]["text"]
        stop = whole[10:14]
        answer = self.server.complete(max_tokens=40, stop=[stop, "@@@"])["choices"][0]
        self.assertEqual(answer["text"], whole[:whole.index(stop)])
        self.assertEqual(answer["finish_reason"], "stop")

    def test_stream_is_the_whole_in_pieces(self):
        body = {"prompt": TEXT, "max_tokens": 30, "seed": 3, "n": 2, "logprobs": 2, "echo": False}
        whole = self.server.post("/v1/completions", body)
        pieces = self.server.stream("/v1/completions",
                                    {**body, "stream_options": {"include_usage": True}})
        self.assertEqual(pieces[-1]["choices"], [])
        self.assertEqual(pieces[-1]["usage"], whole["usage"])
        for choice in whole["choices"]:
            mine = [p["choices"][0] for p in pieces[:-1]
                    if p["choices"][0]["index"] == choice["index"]]
            self.assertEqual("".join(c["text"] for c in mine), choice["text"])
            self.assertEqual([c["finish_reason"] for c in mine][-1], choice["finish_reason"])
            self.assertEqual({c["finish_reason"] for c in mine[:-1]}, {None})
            for key, expected in choice["logprobs"].items():
                got = [x for c in mine if c["logprobs"] for x in c["logprobs"][key]]
                self.assertEqual(got, expected)
        echoed = self.server.stream("/v1/completions", {"prompt": PROMPT, "echo": True})
        self.assertEqual(echoed[0]["choices"][0]["text"], PROMPT)

    def test_chat(self):
        messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]
        prompt = "System: Be kind.\n\nUser: Hi\n\nAssistant:"
        body = {"messages": messages, "max_tokens": 12, "temperature": 0}
        expected = self.server.complete(prompt, max_tokens=12, stop=["\nUser:", "\nSystem:"])
        answer = self.server.post("/v1/chat/completions", body)
        self.assertEqual(answer["object"], "chat.completion")
        message = answer["choices"][0]["message"]
        self.assertEqual(message, {"role": "assistant",
                                   "content": expected["choices"][0]["text"]})
        pieces = self.server.stream("/v1/chat/completions", body)
        self.assertEqual(pieces[0]["choices"][0]["delta"], {"role": "assistant", "content": ""})
        self.assertEqual("".join(p["choices"][0]["delta"].get("content", "") for p in pieces),
                         message["content"])
        scored = self.server.post("/v1/chat/completions",
                                  {**body, "logprobs": True, "top_logprobs": 3})
        for token in scored["choices"][0]["logprobs"]["content"]:
            self.assertEqual(len(token["top_logprobs"]), 3)
            self.assertEqual(token["top_logprobs"][0]["logprob"], token["logprob"])  # greedy
            self.assertEqual(bytes(token["bytes"]).decode(), token["token"])

    def test_echo_scores_are_those_of_score(self):
        # As lm-evaluation-harness asks for them: ids, one token more than is needed.
        context, continuation = TEXT.strip(), " The captain was a good man"
        ids = self.server.post("/tokenize", {"prompt": context + continuation})["tokens"]
        tail = len(ids) - len(self.server.post("/tokenize", {"prompt": context})["tokens"])
        for reduce in ("none", "utrc@20%", "skim@20%"):
            expected = self.json("score", "--model", SMALL, "--context", context,
                                 "--continuation", continuation, "--logprobs", "--json",
                                 "--reduce", reduce)
            answer = self.server.complete(
                [ids, ids[5:]], max_tokens=1, logprobs=1, echo=True, seed=1234,
                model=f"pith-13m-mamba1#{reduce}" + (f":protect={tail}" if "@" in reduce else ""))
            one = answer["choices"][0]["logprobs"]
            for key in one:
                self.assertEqual(len(one[key]), len(ids) + 1)
                self.assertEqual(len(answer["choices"][1]["logprobs"][key]), len(ids) - 4)
            self.assertIsNone(one["token_logprobs"][0])
            self.assertEqual("".join(one["tokens"][:-1]), context + continuation)
            self.assertEqual(one["text_offset"][-1], len(context + continuation))
            got = one["token_logprobs"][-1 - tail:-1]
            if reduce == "none":  # one pass here, two there: some roundings apart
                self.assertNotIn(None, one["token_logprobs"][1:])
                for a, b in zip(got, expected["token_logprobs"]):
                    self.assertAlmostEqual(a, b["logprob"], delta=1e-4)
            else:  # the same passes
                self.assertEqual(set(one["token_logprobs"][:-1 - tail]), {None})
                self.assertEqual(got, [t["logprob"] for t in expected["token_logprobs"]])
                self.assertEqual(answer["usage"]["pith"]["reduce"], reduce)
            greedy = [max(top.values()) == score for top, score in
                      zip(one["top_logprobs"][-1 - tail:-1], got)]
            self.assertEqual(greedy, [t["id"] == t["top"]["id"] for t in expected["token_logprobs"]])

    def test_reductions(self):
        expected = self.generate("--prompt", TEXT * 3, "--greedy", "--max-tokens", "8", "--reduce",
                                 "utrc@20%")
        name = "pith-13m-mamba1"
        for fields, headers in (({"pith": {"reduce": "utrc@20%"}}, {}),
                                ({}, {"X-Pith-Reduce": "utrc@20%"}),
                                ({"model": name + "#utrc@20%"}, {"X-Pith-Reduce": "none"}),
                                ({"model": name + "#none", "pith": {"reduce": "utrc@20%"}}, {})):
            answer = self.server.complete(TEXT * 3, headers=headers, max_tokens=8, **fields)
            self.assertEqual(answer["choices"][0]["text"], expected["text"])
            usage = answer["usage"]
            self.assertEqual(usage["prompt_tokens"], expected["prompt_tokens"])
            self.assertEqual(usage["pith"], {"reduce": "utrc@20%",
                                             "tokens_kept": expected["rows_left"],
                                             "realised": expected["realised"]})
        protected = self.server.complete(TEXT * 3, pith={"reduce": "utrc@20%", "protect": 10000})
        self.assertEqual(protected["usage"]["pith"]["realised"], 0)

    def test_a_prompt_that_begins_alike_is_not_read_again(self):
        first = self.server.complete(TEXT, max_tokens=4)
        again = self.server.complete(TEXT + " And then", max_tokens=4)
        details = again["usage"]["prompt_tokens_details"]
        self.assertGreaterEqual(details["cached_tokens"],
                                first["usage"]["prompt_tokens"] - 1 - 2 * 64)
        with Server("--state-memory", "0") as server:
            alone = server.complete(TEXT + " And then", max_tokens=4)
            self.assertEqual(alone["usage"]["prompt_tokens_details"]["cached_tokens"], 0)
            self.assertEqual(alone["choices"], again["choices"])

    def test_what_else_runs_changes_nothing(self):
        requests = []
        for i in range(64):
            text = (TEXT * (1 + i % 5))[: 200 + 37 * i]
            body = {"prompt": text, "max_tokens": 4 + i % 9, "seed": i, "n": 1 + i % 2,
                    "temperature": i % 3 / 2, "logprobs": i % 3}
            if i % 4 == 1:
                body["pith"] = {"reduce": "utrc@20%", "protect": i % 8}
            if i % 5 == 2:
                body |= {"echo": True, "logprobs": 1, "pith": {"reduce": "none"}}
            requests.append(body)

        def ask(body):
            answer = self.server.post("/v1/completions", body)
            del answer["usage"]["prompt_tokens_details"]  # what was read before may be reused
            return answer["choices"], answer["usage"]

        alone = [ask(body) for body in requests]
        with concurrent.futures.ThreadPoolExecutor(64) as pool:
            together = list(pool.map(ask, requests))
        self.assertEqual(together, alone)

    def test_models_and_tokens(self):
        _, _, models = self.server.call("GET", "/v1/models")
        self.assertEqual([m["id"] for m in models["data"]], ["pith-13m-mamba1"])
        _, _, info = self.server.call("GET", "/tokenizer_info")
        self.assertEqual(info["eos_token"], "<|endoftext|>")
        self.assertEqual(self.server.call("GET", "/health")[2], {"status": "ok"})
        status, headers, page = self.server.call("GET", "/")
        self.assertEqual(status, 200)
        self.assertIn("frame-ancestors 'none'", headers["Content-Security-Policy"])
        self.assertIn(b"</html>", page)
        self.assertEqual(self.server.call("HEAD", "/health")[0], 200)


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

    def test_too_many(self):
        clients = [self.server.begin(stream=True) for _ in range(4)]
        try:
            self.server.wait_for("pith_texts_writing", 2)
            self.server.wait_for("pith_texts_waiting", 2)
            status, headers, answer = self.server.call("POST", "/v1/completions",
                                                       {"prompt": PROMPT})
            self.assertEqual(status, 429, answer)
            self.assertEqual(answer["error"]["type"], "rate_limit_error")
            self.assertEqual(headers["Retry-After"], "1")
        finally:
            for client in clients:
                client.close()
        self.server.wait_for("pith_texts_writing", 0)

    def test_who_goes_away_stops_the_work(self):
        for stream in (True, False):
            clients = [self.server.begin(stream=stream) for _ in range(4)]  # two of them wait
            self.server.wait_for("pith_texts_writing", 2)
            self.server.wait_for("pith_texts_waiting", 2)
            for client in clients:
                client.close()
            self.server.wait_for("pith_texts_waiting", 0)
            self.server.wait_for("pith_texts_writing", 0)

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
            with Server("--max-running", "1") as server:
                running = server.begin(stream=True, max_tokens=300)
                running.recv(1)
                waiting = server.begin(stream=True)
                server.wait_for("pith_texts_waiting", 1)
                server.process.send_signal(number)
                answer = b""
                while part := running.recv(65536):
                    answer += part
                self.assertIn(b"data: [DONE]", answer)
                self.assertTrue(waiting.recv(65536).startswith(b"HTTP/1.1 503"))
                running.close()
                waiting.close()
                self.assertEqual(server.process.wait(60), 0)

    def test_a_second_signal_stops_at_once(self):
        with Server() as server:
            running = server.begin(stream=True)
            running.recv(1)
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            self.assertIsNone(server.process.poll())
            server.process.send_signal(signal.SIGINT)
            self.assertEqual(server.process.wait(60), -signal.SIGINT)
            running.close()
