"""pith serve: the answers are those of the other verbs, whatever else runs."""

import concurrent.futures

from serving import PROMPT, Server
from support import MODELS, SMALL, TEXT, Case


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

    def test_a_body_may_be_called_a_form(self):  # as curl -d does
        expected = self.server.complete(TEXT * 20, max_tokens=4)["choices"]
        for kind in ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"):
            answer = self.server.complete(TEXT * 20, {"Content-Type": kind}, max_tokens=4)
            self.assertEqual(answer["choices"], expected)

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
        for usage in (pieces[-1]["usage"], whole["usage"]):
            del usage["prompt_tokens_details"]  # what was read before may be reused
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

    def test_saved_states_are_those_of_generate(self):
        directory = self.folder / "states"
        directory.mkdir()
        by_hand = self.folder / "by_hand.pith"
        drawn = ("--seed", "5", "--temperature", "0.8", "--max-tokens")
        fields = {"seed": 5, "temperature": 0.8}
        with Server("--state-dir", directory) as server:
            for reduce in ("none", "utrc@20%"):
                first = self.generate("--prompt", TEXT, *drawn, "9", "--save-state", by_hand,
                                      "--reduce", reduce)
                more = self.generate("--prompt", " And then the boat", *drawn, "12",
                                     "--load-state", by_hand)
                answer = server.complete(TEXT, max_tokens=9, **fields,
                                         pith={"save_state": "river", "reduce": reduce})
                self.assertEqual(answer["choices"][0]["text"], first["text"])
                self.assertEqual((directory / "river.state").read_bytes(), by_hand.read_bytes())
                answer = server.complete([" And then the boat"] * 2, max_tokens=12, **fields,
                                         pith={"load_state": "river"})
                for choice in answer["choices"]:
                    self.assertEqual(choice["text"], more["text"])
            # A new state takes the place of the old one, and a text may go on under its own name.
            server.complete(" And", max_tokens=1, pith={"load_state": "river", "save_state": "river"})
            self.assertNotEqual((directory / "river.state").read_bytes(), by_hand.read_bytes())
            _, _, listed = server.call("GET", "/v1/states")
            self.assertEqual([(s["id"], s["bytes"]) for s in listed["data"]],
                             [("river", by_hand.stat().st_size)])
            status, _, gone = server.call("DELETE", "/v1/states/river")
            self.assertEqual((status, gone["deleted"]), (200, True))
            self.assertEqual(list(directory.iterdir()), [])
            self.assertEqual(server.call("DELETE", "/v1/states/river")[0], 404)

    def test_states_that_cannot_be(self):
        directory = self.folder / "states"
        directory.mkdir()
        outside = self.folder / "outside.state"
        outside.write_bytes(b"secret")
        (directory / "link.state").symlink_to(outside)
        (directory / "broken.state").write_bytes(b"PITHSTAT" + bytes(100))
        with Server("--state-dir", directory, model=MODELS[1]) as other:
            other.complete(max_tokens=1, pith={"save_state": "other"})

        def refused(server, status, **own):
            got, _, answer = server.call("POST", "/v1/completions",
                                         {"prompt": PROMPT, "max_tokens": 1, "pith": own})
            self.assertEqual(got, status, answer)
            self.assertNotIn(str(self.folder), answer["error"]["message"])
            return answer["error"]["message"]

        with Server("--state-dir", directory, "--state-disk", "1000", "--max-running", "1") as server:
            for name in ("../outside", "/etc/passwd", "..", "link/../../outside", ".hidden"):
                refused(server, 400, load_state=name)
                refused(server, 400, save_state=name)
                self.assertNotEqual(server.call("DELETE", "/v1/states/" + name)[0], 200)
            self.assertIn("link", refused(server, 404, load_state="link"))
            refused(server, 404, load_state="missing")
            self.assertIn("broken.state", refused(server, 500, load_state="broken"))
            self.assertIn("another model", refused(server, 400, load_state="other"))
            self.assertIn("1000", refused(server, 507, save_state="more"))  # "other" fills it
            self.assertEqual(outside.read_bytes(), b"secret")
            server.complete(max_tokens=1)  # the one place is free again
        refused(self.server, 400, save_state="a")  # it has no directory
        self.assertEqual(self.server.call("GET", "/v1/states")[0], 400)
        self.fails(3, "serve", "--model", SMALL, "--port", "0", "--state-dir",
                   self.folder / "nowhere", names=("nowhere",))

    def test_inspect_tells_what_inspect_tells(self):
        for reduce in ("none", "stride@30%", "utrc@30%", "skim@20%"):
            expected = self.json("inspect", "--model", SMALL, "--text", TEXT, "--json", "--reduce",
                                 reduce)
            got = self.server.post("/inspect", {"prompt": TEXT, "pith": {"reduce": reduce}})
            self.assertEqual(got["reduce"], reduce)
            self.assertEqual(got["realised"], expected["realised"])
            self.assertEqual("".join(token["text"] for token in got["tokens"]), TEXT)
            for token, fate in zip(got["tokens"], expected["fates"], strict=True):
                for key in ("fate", "site", "into"):
                    self.assertEqual(token.get(key), fate.get(key))
        got = self.server.post("/inspect", {"prompt": TEXT,
                                            "pith": {"reduce": "stride@30%", "protect": 5}})
        self.assertEqual([token["fate"] for token in got["tokens"]].count("whole"), 5)
        status, _, answer = self.server.call("POST", "/inspect", {"prompt": [5] * 16385})
        self.assertEqual(status, 400)
        self.assertIn("16384", answer["error"]["message"])
        self.assertEqual(self.server.call("POST", "/inspect", {"prompt": ["a", "b"]})[0], 400)

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

    def test_a_reduced_context_is_not_read_again(self):
        def ask(server, text, **own):
            answer = server.complete(text, max_tokens=6, logprobs=2, pith=own)
            usage = answer["usage"]
            return answer["choices"], usage, usage.pop("prompt_tokens_details")["cached_tokens"]

        tokens = {text: len(self.server.post("/tokenize", {"prompt": text})["tokens"])
                  for text in (TEXT, TEXT + " And then", TEXT + " Or not", TEXT * 3)}
        state = self.json("info", "--model", SMALL, "--json")["state_bytes"]
        with Server("--state-memory", "0") as none:
            for piece in (0, 64):
                with Server() as server:
                    for tail, cached in ((" And then", 0), (" Or not", tokens[TEXT])):
                        text = TEXT + tail
                        own = {"reduce": "utrc@20%", "piece": piece,
                               "protect": tokens[text] - tokens[TEXT]}
                        got = ask(server, text, **own)
                        self.assertEqual(got[2], cached)
                        self.assertEqual(got[:2], ask(none, text, **own)[:2])
                        self.assertGreater(got[1]["pith"]["realised"], 0.1)
                    self.assertEqual(server.metric("pith_prompt_tokens_reused_total"), tokens[TEXT])
                    # The context is kept, and its whole pieces.
                    self.assertEqual(server.metric("pith_states_kept"), 2 if piece else 1)
                    self.assertGreater(server.metric("pith_states_kept_bytes"), (1 + (piece > 0)) * state)
                    # A longer context goes on from whole pieces alone.
                    own = {"reduce": "utrc@20%:piece=" + str(piece), "protect": 8}
                    got = ask(server, TEXT * 3, **own)
                    self.assertEqual(got[2], tokens[TEXT] // 64 * 64 if piece else 0)
                    self.assertEqual(got[:2], ask(none, TEXT * 3, **own)[:2])
            self.assertEqual(none.metric("pith_states_kept_bytes"), 0)
        status, _, answer = self.server.call("POST", "/inspect", {
            "prompt": TEXT, "pith": {"reduce": "utrc@20%", "piece": 64}})
        self.assertEqual(status, 400)
        self.assertIn("pith.piece", answer["error"]["message"])

    def test_what_else_runs_changes_nothing(self):
        requests = []
        for i in range(64):
            text = (TEXT * (1 + i % 5))[: 200 + 37 * i]
            body = {"prompt": text, "max_tokens": 4 + i % 9, "seed": i, "n": 1 + i % 2,
                    "temperature": i % 3 / 2, "logprobs": i % 3}
            if i % 4 == 1:
                body["pith"] = {"reduce": "utrc@20%", "protect": i % 8, "piece": i % 3 * 64}
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
        self.assertEqual(self.server.call("GET", "/v1/models/pith-13m-mamba1")[2], models["data"][0])
        self.assertEqual(self.server.call("GET", "/v1/models/pith-13mXmamba1")[0], 404)
        _, _, info = self.server.call("GET", "/tokenizer_info")
        self.assertEqual(info["eos_token"], "<|endoftext|>")
        self.assertEqual(self.server.call("GET", "/health")[2], {"status": "ok"})
        status, headers, page = self.server.call("GET", "/")
        self.assertEqual(status, 200)
        self.assertIn("frame-ancestors 'none'", headers["Content-Security-Policy"])
        self.assertIn(b"</html>", page)
        self.assertEqual(self.server.call("HEAD", "/health")[0], 200)
