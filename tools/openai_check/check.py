"""Speaks to `pith serve` through the package openai: README.md."""

import argparse
import asyncio
import subprocess
import sys
import unittest

import openai

PROMPT = "It was a dark night on the river, and the old boat moved slowly under the bridge."
MESSAGES = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Who goes there?"}]
KEY = "check-key"
options = None  # set below


class Check(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        command = [options.pith, "serve", "--model", options.model, "--port", "0", "--name", "served",
                   "--api-key", KEY, "--max-prompt", "3000"]
        cls.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        line = cls.process.stdout.readline()
        cls.url = line.split(" at ")[1].strip() + "/v1"
        cls.client = openai.OpenAI(base_url=cls.url, api_key=KEY, max_retries=0)

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        cls.process.terminate()
        cls.process.communicate()

    def complete(self, prompt=PROMPT, model="served", max_tokens=12, **fields):
        return self.client.completions.create(model=model, prompt=prompt, max_tokens=max_tokens,
                                              temperature=0, **fields)

    def chat(self, **fields):
        return self.client.chat.completions.create(model="served", messages=MESSAGES, max_tokens=12,
                                                   temperature=0, **fields)

    def test_models(self):
        self.assertEqual([m.id for m in self.client.models.list()], ["served"])
        self.assertEqual(self.client.models.retrieve("served").id, "served")

    def test_completion(self):
        answer = self.complete()
        self.assertEqual(answer.object, "text_completion")
        self.assertEqual(answer.choices[0].finish_reason, "length")
        self.assertEqual(answer.usage.completion_tokens, 12)
        self.assertEqual(answer.usage.total_tokens, answer.usage.prompt_tokens + 12)
        several = self.complete(prompt=[PROMPT, "The captain"], n=2)
        self.assertEqual([c.index for c in several.choices], [0, 1, 2, 3])
        self.assertEqual(several.choices[0].text, answer.choices[0].text)

    def test_completion_stream(self):
        whole = self.complete()
        pieces = list(self.complete(stream=True, stream_options={"include_usage": True}))
        self.assertEqual("".join(c.text for p in pieces for c in p.choices), whole.choices[0].text)
        self.assertEqual([c.finish_reason for p in pieces for c in p.choices][-1], "length")
        self.assertEqual(pieces[-1].usage.total_tokens, whole.usage.total_tokens)

    def test_completion_logprobs(self):
        scores = self.complete(logprobs=3).choices[0].logprobs
        self.assertEqual(len(scores.tokens), 12)
        for token, score, top in zip(scores.tokens, scores.token_logprobs, scores.top_logprobs):
            self.assertLessEqual(score, 0)
            self.assertEqual(top[token], max(top.values()))  # greedy
        echoed = self.complete(echo=True, logprobs=1, max_tokens=0).choices[0]
        self.assertEqual(echoed.text, PROMPT)
        self.assertIsNone(echoed.logprobs.token_logprobs[0])

    def test_stop_and_seed(self):
        text = self.complete(max_tokens=24).choices[0].text
        stopped = self.complete(max_tokens=24, stop=[text[8:12]]).choices[0]
        self.assertEqual((stopped.text, stopped.finish_reason), (text[:text.index(text[8:12])], "stop"))
        drawn = [self.client.completions.create(model="served", prompt=PROMPT, seed=seed).choices[0].text
                 for seed in (1, 1, 2)]
        self.assertEqual(drawn[0], drawn[1])
        self.assertNotEqual(drawn[0], drawn[2])

    def test_chat(self):
        answer = self.chat()
        self.assertEqual(answer.choices[0].message.role, "assistant")
        pieces = list(self.chat(stream=True, stream_options={"include_usage": True}))
        deltas = [c.delta for p in pieces for c in p.choices]
        self.assertEqual(deltas[0].role, "assistant")
        self.assertEqual("".join(d.content or "" for d in deltas), answer.choices[0].message.content)
        self.assertEqual(pieces[-1].usage.completion_tokens, answer.usage.completion_tokens)
        parts = [{"role": "user", "content": [{"type": "text", "text": "Who goes there?"}]}]
        self.client.chat.completions.create(model="served", messages=parts, max_completion_tokens=2)

    def test_chat_logprobs(self):
        tokens = self.chat(logprobs=True, top_logprobs=2).choices[0].logprobs.content
        streamed = [t for p in self.chat(logprobs=True, top_logprobs=2, stream=True)
                    for c in p.choices if c.logprobs for t in c.logprobs.content]
        self.assertEqual(streamed, tokens)
        for token in tokens:
            self.assertEqual(token.top_logprobs[0].logprob, token.logprob)

    def test_stream_helper(self):
        # It takes an answer that is cut short for an error, so this one ends by itself.
        fields = {"stop": self.chat().choices[0].message.content[-4:]}
        with self.client.chat.completions.stream(model="served", messages=MESSAGES, max_tokens=12,
                                                 temperature=0, **fields) as stream:
            for _ in stream:
                pass
            answer = stream.get_final_completion()
        self.assertEqual(answer.choices[0].finish_reason, "stop")
        self.assertEqual(answer.choices[0].message.content,
                         self.chat(**fields).choices[0].message.content)

    def test_async(self):
        async def ask():
            async with openai.AsyncOpenAI(base_url=self.url, api_key=KEY, max_retries=0) as client:
                calls = [client.completions.create(model="served", prompt=PROMPT, max_tokens=12,
                                                   temperature=0) for _ in range(8)]
                return {answer.choices[0].text for answer in await asyncio.gather(*calls)}
        self.assertEqual(asyncio.run(ask()), {self.complete().choices[0].text})

    def test_reduction(self):
        by_name = self.complete(prompt=PROMPT * 4, model="served#utrc@20%")
        by_field = self.complete(prompt=PROMPT * 4, extra_body={"pith": {"reduce": "utrc@20%"}})
        by_header = self.complete(prompt=PROMPT * 4, extra_headers={"X-Pith-Reduce": "utrc@20%"})
        for answer in (by_name, by_field, by_header):
            self.assertEqual(answer.usage.pith["reduce"], "utrc@20%")
            self.assertLess(answer.usage.pith["tokens_kept"], answer.usage.prompt_tokens)
            self.assertEqual(answer.choices[0].text, by_name.choices[0].text)

    def test_errors(self):
        with self.assertRaises(openai.BadRequestError) as caught:
            self.complete(top_p=2)
        self.assertIn("top-p", str(caught.exception))
        with self.assertRaises(openai.BadRequestError):
            self.complete(prompt=[5] * 3001)
        with self.assertRaises(openai.NotFoundError):
            self.complete(model="gpt")
        with self.assertRaises(openai.AuthenticationError):
            openai.OpenAI(base_url=self.url, api_key="wrong", max_retries=0).models.list()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pith", default="build/cpu/pith")
    parser.add_argument("--model", default="models/pith-13m-mamba1")
    options = parser.parse_args()
    print("openai", openai.__version__)
    unittest.main(argv=sys.argv[:1], verbosity=2)
