"""Interrupts, closed pipes, terminals, saved states, shell completion."""

import json
import os
import pty
import signal
import subprocess
import time

import support
from support import MODELS, ROOT, SMALL, TEXT, Case, catches_interrupts, run, wait_until

ENDLESS = ("generate", "--model", SMALL, "--prompt", TEXT, "--ignore-eos", "--max-tokens",
           "100000000")


def start(*args, **options):
    return subprocess.Popen([str(support.program), *map(str, args)], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, **options)


def terminal(*args, env=None):
    """What `pith args` writes to a terminal."""
    master, slave = pty.openpty()
    process = subprocess.Popen([str(support.program), *map(str, args)], stdout=slave,
                               stderr=subprocess.DEVNULL,
                               env={**os.environ, "TERM": "xterm", **(env or {})})
    os.close(slave)
    text = b""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:  # the program closed its end
            break
        if not part:
            break
        text += part
    os.close(master)
    process.wait()
    return text.decode()


class Interrupts(Case):
    def test_generate(self):
        state = self.folder / "state"
        process = start(*ENDLESS, "--save-state", state)
        first = process.stdout.read(1)  # it is writing
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, errors)
        text = (first + rest).decode()  # whole characters only
        self.assertIn("cancelled", errors.decode())
        self.assertIn("tok/s", errors.decode())
        self.assertTrue(text.endswith("\n"))
        more = self.json("generate", "--model", SMALL, "--load-state", state, "--max-tokens", "4",
                         "--ignore-eos", "--json")
        self.assertEqual(len(more["ids"]), 4)
        self.assertEqual(os.listdir(self.folder), ["state"])

    def test_json(self):
        state = self.folder / "state"
        process = start(*ENDLESS, "--json", "--quiet", "--save-state", state)
        wait_until(lambda: catches_interrupts(process), process)
        time.sleep(1)  # wherever it is by then
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, errors)
        if out:  # cancelled while it read the prompt, there is nothing to say
            self.assertEqual(json.loads(out)["finish"], "cancelled")
        self.assertEqual(bool(out), state.exists())

    def test_score_leaves_no_file(self):
        line = json.dumps({"context": TEXT * 20, "continuation": " x"})
        items = self.write("items", "\n".join([line.replace("dark", f"dark {i}")
                                               for i in range(2000)]))
        process = start("score", "--model", SMALL, "--items", items, "--output",
                        self.folder / "out")
        # It is made when the items are read. From then on it may be cancelled while it scores.
        wait_until(lambda: any(name.startswith("out.tmp") for name in os.listdir(self.folder)),
                   process)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=300)
        self.assertEqual(process.returncode, 130, errors)
        self.assertIn("of 2000 items", errors.decode())
        self.assertEqual(os.listdir(self.folder), ["items"])

    def test_while_waiting_for_input(self):
        # At whatever moment it comes, while the program begins to wait or later.
        for delay in (0, 0.001, 0.01, 0.5):
            process = start("tokenize", "--model", SMALL, "--file", "-", stdin=subprocess.PIPE)
            wait_until(lambda: catches_interrupts(process), process)
            time.sleep(delay)
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)
            self.assertEqual(process.returncode, 130)
            process.communicate()

    def test_while_waiting_for_a_writer(self):
        pipe = self.folder / "pipe"
        os.mkfifo(pipe)
        process = start("tokenize", "--model", SMALL, "--file", pipe)
        wait_until(lambda: catches_interrupts(process), process)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130)
        self.assertIn(str(pipe), errors.decode())

    def test_closed_pipe(self):
        state = self.folder / "state"
        process = start(*ENDLESS, "--save-state", state, "--quiet")
        process.stdout.read(1)
        process.stdout.close()
        process.wait(timeout=60)
        errors = process.stderr.read()
        process.stderr.close()
        self.assertEqual((process.returncode, errors), (141, b""))
        self.assertTrue(state.exists())  # nothing is lost


class Pipes(Case):
    def test_what_comes_late_and_in_parts(self):
        pipe = self.folder / "pipe"
        os.mkfifo(pipe)
        process = start("tokenize", "--model", SMALL, "--file", pipe, "--json")
        wait_until(lambda: catches_interrupts(process), process)
        time.sleep(0.1)  # it waits for somebody who writes
        with open(pipe, "wb", buffering=0) as end:
            end.write(TEXT[:10].encode())
            time.sleep(0.1)
            end.write(TEXT[10:].encode())
        out, errors = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0, errors)
        self.assertEqual(json.loads(out), self.json("tokenize", "--model", SMALL, "--file",
                                                    self.write("file", TEXT), "--json"))


    def test_closed_streams(self):
        for closes, name in (("<&-", "standard input"), (">&-", "standard output")):
            done = subprocess.run(["sh", "-c", f'exec "$0" "$@" {closes}', str(support.program),
                                   "tokenize", "--model", SMALL, "--file", "-"],
                                  input=b"a", capture_output=True, timeout=60)
            self.assertEqual(done.returncode, 3, done.stderr)
            self.assertIn(name, done.stderr.decode())


class States(Case):
    def test_continuing_equals_uninterrupted(self):
        for model in MODELS:
            state = self.folder / "state"
            base = ("generate", "--model", model, "--greedy", "--ignore-eos", "--json")
            whole = self.json(*base, "--prompt", TEXT, "--max-tokens", "24")
            one = self.json(*base, "--prompt", TEXT, "--max-tokens", "10", "--save-state", state)
            two = self.json(*base, "--load-state", state, "--max-tokens", "14")
            self.assertEqual(one["ids"] + two["ids"], whole["ids"])

    def test_prompt_in_two_parts(self):
        state = self.folder / "state"
        first, then = TEXT.strip(), " And then"
        base = ("generate", "--model", SMALL, "--greedy", "--json")
        whole = self.json(*base, "--prompt", first + then, "--max-tokens", "8")
        one = self.json(*base, "--prompt", first, "--max-tokens", "0", "--save-state", state)
        two = self.json(*base, "--load-state", state, "--prompt", then, "--max-tokens", "8")
        self.assertEqual(one["prompt_tokens"] + two["prompt_tokens"], whole["prompt_tokens"])
        self.assertEqual(two["ids"], whole["ids"])

    def test_other_model(self):
        state = self.folder / "state"
        run("generate", "--model", MODELS[0], "--prompt", TEXT, "--max-tokens", "2",
            "--save-state", state)
        self.fails(2, "generate", "--model", MODELS[1], "--load-state", state, names=[state])


class Terminals(Case):
    def test_colours_only_on_a_terminal(self):
        args = ("inspect", "--model", SMALL, "--text", TEXT, "--reduce", "utrc@20%")
        self.assertNotIn("\033", run(*args).stdout)
        self.assertIn("\033[31;9m", terminal(*args))
        self.assertNotIn("\033", terminal(*args, env={"NO_COLOR": "1"}))
        self.assertIn("legend", run(*args).stdout)

    def test_text_cannot_drive_the_terminal(self):
        args = ("inspect", "--model", SMALL, "--text", "a\033[2Jb" * 20, "--reduce", "stride@20%")
        self.assertNotIn("\033", run(*args).stdout)
        self.assertIn("\\x1B", run(*args).stdout)


class Completion(Case):
    def complete(self, *words):
        script = ROOT / "scripts/completion/pith.bash"
        code = (f'source "{script}"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _pith "$1"; '
                'printf "%s\\n" "${COMPREPLY[@]}"')
        done = subprocess.run(["bash", "-c", code, "bash", str(support.program), *words],
                              capture_output=True, text=True)
        self.assertEqual(done.stderr, "")
        return done.stdout.split()

    def test_words(self):
        self.assertEqual(self.complete("gen"), ["generate"])
        for verb in ("score", "perplexity", "plan", "inspect", "tokenize", "info"):
            self.assertIn(verb, self.complete(""))
        self.assertEqual(self.complete("score", "--cont"),
                         ["--context", "--context-file", "--continuation", "--continuation-file"])
        self.assertEqual(self.complete("plan", "--reduce", "utr"), ["utrc", "utrc-published"])
        self.assertEqual(self.complete("info", "--dtype", "b"), ["bf16"])
        self.assertIn("reference", self.complete("info", "--device", ""))
        self.assertIn("--greedy", self.complete("generate", "--"))
        self.assertEqual(self.complete("bench", "--shape", "mamba2-1"),
                         ["mamba2-1.3b", "mamba2-130m"])
        self.assertEqual(self.complete("eval", "--scoring", "p"), ["published-tail", "paper-first"])
        self.assertEqual(self.complete("eval", "--tasks", "piqa,arc_"),
                         ["piqa,arc_easy", "piqa,arc_challenge"])
        self.assertEqual(self.complete("eval", "--methods", "none,skim@40%,evi"),
                         ["none,skim@40%,evit"])
        os.chdir(self.folder)
        self.addCleanup(os.chdir, ROOT)
        self.write("page.txt", "")
        self.assertEqual(self.complete("inspect", "--file", "pa"), ["page.txt"])
