"""The package against the library's promises: the same numbers by every way to them."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import pith


def test_ids_and_texts_are_the_same_prompt(model, text):
    ids = model.tokenize(text)
    assert model.detokenize(ids) == text
    by_text = model.generate(text, max_tokens=12, greedy=True)
    by_ids = model.generate(np.array(ids), max_tokens=12, greedy=True)
    assert by_text.ids == by_ids.ids
    assert by_text.finish == "length"
    assert by_text.prefill.tokens == len(ids)


def test_parts_of_characters_are_text_too(model):
    texts = [model.detokenize([i]) for i in range(model.info.vocab_size)]
    assert "\ufffd" in texts
    assert model.detokenize(model.tokenize("naïve — “日本”")) == "naïve — “日本”"
    for seed in range(40):  # hot enough for bytes that make no character
        options = dict(max_tokens=6, temperature=50.0, seed=seed)
        written = model.generate("The", **options)
        assert "".join(model.stream("The", **options)) == written.text
        texts.append(written.text)
    assert any("\ufffd" in text for text in texts[model.info.vocab_size:])


def test_a_stream_is_the_text(model, text):
    options = dict(max_tokens=20, temperature=0.8, top_p=0.9, seed=7)
    whole = model.generate(text, **options)
    stream = model.stream(text, **options)
    assert "".join(stream) == whole.text
    assert stream.result.ids == whole.ids


def test_a_closed_stream_ends_and_frees_its_session(model, text):
    session = model.session()
    stream = session.stream(text, max_tokens=100000, greedy=True, stop_at_end_of_text=False)
    next(stream)
    with pytest.raises(pith.InvalidArgumentError, match="in use"):
        session.append("more")
    stream.close()
    assert list(stream) == []
    session.append("more")


def test_logits_say_what_greedy_does(model, text):
    logits = model.logits(text)
    assert logits.dtype == np.float32
    assert logits.shape == (model.info.vocab_size,)
    assert model.generate(text, max_tokens=1, greedy=True).ids == [int(np.argmax(logits))]


def test_scores_are_the_logits(model, text):
    pairs = [(text, " The water was dark."), (text, " Nobody spoke.")]
    scores = model.score(pairs, logprobs=True)
    context, continuation = model.tokenize(text), model.tokenize(pairs[1][1])
    session = model.session()
    session.append(context)
    expected = 0.0
    for token in continuation:
        logits = session.logits().astype(np.float64)
        expected += logits[token] - logits.max() - np.log(np.exp(logits - logits.max()).sum())
        session.append([token])
    # Each of the two sums rounds its terms in float32.
    assert scores[1].logprob == pytest.approx(expected, abs=1e-4 * len(continuation))
    assert [t.id for t in scores[1].token_logprobs] == continuation
    alone = model.score([(context, continuation)])[0]
    assert alone.logprob == scores[1].logprob


def test_forks_go_their_own_way_and_saves_come_back(model, text, tmp_path):
    session = model.session()
    session.append(text)
    fork = session.fork()
    session.append(" And then")
    session.save(tmp_path / "state")
    loaded = model.load_session(tmp_path / "state")
    assert loaded.tokens == session.tokens > fork.tokens
    loaded.append(" the")
    session.append(" the")
    np.testing.assert_array_equal(loaded.logits(), session.logits())
    np.testing.assert_array_equal(fork.logits(), model.logits(text))


def test_reductions(model, text):
    ids = model.tokenize(text)
    reduction = model.reduction("utrc@30%")
    report = model.inspect(ids, reduction)
    plan = model.plan(len(ids), "utrc@30%")
    removed = sum(token.site >= 0 for token in report.tokens)
    assert removed == sum(site.rows_in - site.rows_out for site in plan.sites) > 0
    assert plan.realised == pytest.approx(0.3, abs=0.02)
    result = model.generate(ids, reduce=reduction, max_tokens=1)
    assert result.prefill.rows_left == len(ids) - removed
    assert "utrc" in pith.list_reductions()


def test_a_policy_of_ones_own(model, text):
    ids = model.tokenize(text)
    sites = []

    def drop_first(site, remove):
        sites.append(site)
        assert site.importance.shape == (site.rows,)
        assert site.features.shape == (site.rows, model.info.d_model)
        assert np.all(np.diff(site.positions) > 0)
        return np.arange(remove)

    policy = model.policy(drop_first, "@30%:protect=4", importance="hidden", features="combined")
    fates = model.inspect(ids, policy).tokens
    gone = [token.site >= 0 for token in fates]
    assert gone == sorted(gone, reverse=True) and 0 < sum(gone) < len(ids)
    assert len(sites) > 1 and all(site.protected_tail == 4 for site in sites)


def test_a_policy_that_merges_equals_the_one_of_the_library(model, text):
    ids = model.tokenize(text)

    def halves(site, remove):
        rows = np.arange(1, 2 * remove, 2)
        return rows, rows - 1

    policy = model.policy(halves, "@20%", merges=True)
    tokens = model.inspect(ids, policy).tokens
    merged = {p: t.merged_into for p, t in enumerate(tokens) if t.merged_into >= 0}
    assert merged and all(target < position for position, target in merged.items())
    # A plan that removes nothing changes nothing.
    nothing = model.policy(lambda site, remove: [], ":keep=1", name="nothing")
    np.testing.assert_array_equal(model.logits(ids, reduce=nothing), model.logits(ids))


@pytest.mark.parametrize("plan, words", [
    (lambda site, remove: [], "removed: got 0 rows"),
    (lambda site, remove: list(range(remove))[::-1], "increasing order"),
    (lambda site, remove: range(site.rows - remove, site.rows), "expected a row from 0 to"),
    (lambda site, remove: (list(range(remove)), [0] * remove), "expected none of a policy"),
])
def test_a_wrong_plan_is_named(model, text, plan, words):
    with pytest.raises(pith.InvalidArgumentError, match=words):
        model.logits(text, reduce=model.policy(plan, "@30%"))


def test_what_a_policy_raises_comes_out(model, text):
    def fails(site, remove):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        model.generate(text, reduce=model.policy(fails, "@30%"))


def test_errors(model, tmp_path):
    with pytest.raises(pith.NotFoundError):
        pith.Model(tmp_path / "nothing")
    with pytest.raises(ValueError, match="urtc"):
        model.generate("a", reduce="urtc@30%")
    with pytest.raises(pith.InvalidArgumentError, match="temperature"):
        model.generate("a", temperature=-1)
    with pytest.raises(TypeError, match="tempratur"):
        model.stream("a", tempratur=1)
    (tmp_path / "state").write_bytes(b"no state")
    with pytest.raises(pith.Error):
        model.load_session(tmp_path / "state")
    assert issubclass(pith.IoError, OSError)


def test_other_threads_run_meanwhile(model, text):
    ticks = []
    done = threading.Event()

    def tick():
        while not done.is_set():
            ticks.append(time.monotonic())
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    before = len(ticks)
    model.perplexity(model.tokenize(text) * 8)
    during = len(ticks) - before
    done.set()
    thread.join()
    assert during > 5  # with the lock held there would be none


INTERRUPTED = """
import sys, pith
model = pith.Model(sys.argv[1], threads=1)
try:
    print("ready", flush=True)
    if sys.argv[2] == "generate":
        model.generate("The", max_tokens=10**7, stop_at_end_of_text=False)
    elif sys.argv[2] == "read":
        model.perplexity([1] * 3_000_000)
    else:
        for piece in model.stream("The", max_tokens=10**7, stop_at_end_of_text=False): pass
except KeyboardInterrupt:
    print("interrupted", len(model.tokenize("still here")) > 0)
"""


@pytest.mark.parametrize("how", ["generate", "read", "stream"])
def test_ctrl_c_stops(model_path, how):
    process = subprocess.Popen([sys.executable, "-c", INTERRUPTED, model_path, how],
                               stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.5)
    os.kill(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert out == "interrupted True\n"
    assert process.returncode == 0


def test_the_program_says_the_same(model, model_path, text):
    program = os.environ.get("PITH_PROGRAM")
    if not program:
        pytest.skip("PITH_PROGRAM does not name the program pith")
    out = subprocess.run([program, "score", "--model", model_path, "--context", text,
                          "--continuation", " Nobody spoke.", "--reduce", "utrc@30%", "--json",
                          "--threads", "2"], capture_output=True, text=True, check=True).stdout
    score = model.score([(text, " Nobody spoke.")], reduce="utrc@30%")[0]
    assert json.loads(out)["logprob"] == score.logprob
