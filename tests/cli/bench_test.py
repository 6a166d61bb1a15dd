"""pith bench: the fixed JSON form, the table, the page, Ctrl-C, what it refuses. No times."""

import json
import signal
import subprocess
import time

import support
from support import SMALL, Case, catches_interrupts, run, wait_until

QUICK = ("bench", "--model", SMALL, "--threads", "2", "--repeats", "1", "--decode", "2")


class Bench(Case):
    def test_fixed_form(self):
        found = self.json("bench", "--model", SMALL, "--dtype", "f32", "--prompt", "64", "--batch",
                          "1", "--decode", "2", "--repeats", "1", "--threads", "2", "--reduce",
                          "none", "--json")
        for key in ("command", "build", "device", "dtype", "threads", "description"):
            self.assertIn(key, found)
        self.assertEqual((found["threads"], found["shape"], found["weights"]), (2, None, None))
        self.assertIs(found["complete"], True)
        self.assertGreater(found["rates"]["gflop_per_second"], 0)
        self.assertGreater(found["rates"]["gb_per_second"], 0)
        (row,) = found["rows"]
        self.assertEqual((row["reduce"], row["prompt"], row["batch"], row["realised"]),
                         ("none", 64, 1, 0))
        for key in ("prefill_tokens_per_second", "decode_tokens_per_second", "peak_bytes",
                    "prefill_ms", "decode_ms", "generate_ms", "product_share", "copy_share"):
            self.assertGreater(row[key], 0, key)
        self.assertEqual(row["speedup"], 1)
        self.assertEqual([len(row[f"{part}_ms_repeats"]) for part in ("prefill", "decode")], [1, 1])

    def test_grid(self):
        # Lists with commas, repeated options, and both.
        rows = self.json(*QUICK, "--prompt", "64,96", "--batch", "1", "--batch", "2", "--reduce",
                         "none,utrc@20%", "--reduce", "skim:chunk=16,window=32", "--json")["rows"]
        self.assertEqual([(r["batch"], r["prompt"]) for r in rows[::3]],
                         [(1, 64), (1, 96), (2, 64), (2, 96)])
        self.assertEqual(["none", "utrc@20%"], [r["reduce"] for r in rows[:2]])
        self.assertTrue(rows[2]["reduce"].startswith("skim:"))
        for row in (rows[1], rows[10]):
            plan = self.json("plan", "--model", SMALL, "--length", row["prompt"], "--reduce",
                             row["reduce"], "--json")
            self.assertAlmostEqual(row["realised"], plan["realised"])
            self.assertEqual(row["rows_left"], row["batch"] * plan["sites"][-1]["out"])
        self.assertGreater(rows[6]["states_peak_bytes"], rows[0]["states_peak_bytes"])

    def test_no_decode(self):
        (row,) = self.json("bench", "--model", SMALL, "--prompt", "64", "--repeats", "1",
                           "--decode", "0", "--json")["rows"]
        self.assertIsNone(row["decode_tokens_per_second"])
        self.assertEqual(row["decode_ms_repeats"], [])

    def test_score(self):
        (row,) = self.json(*QUICK, "--prompt", "64", "--batch", "3", "--score", "--reduce",
                           "utrc@20%", "--json")["rows"]
        self.assertEqual((row["score"], row["decode"], row["decode_ms"]), (True, 0, None))
        self.assertGreater(row["prefill_ms"], 0)

    def test_all_gpus(self):
        """Without a GPU the error is that of one, word for word."""
        one = run(*QUICK, "--prompt", "16", "--device", "cuda", "--json")
        every = run(*QUICK, "--prompt", "16", "--device", "cuda:all", "--json")
        self.assertEqual(every.returncode, one.returncode, every.stderr)
        if one.returncode != 0:
            self.assertEqual(every.stderr, one.stderr)
        self.fails(2, "generate", "--model", SMALL, "--prompt", "a", "--device", "cuda:all",
                   names=["cuda:all", "one device"])

    def test_table_and_page(self):
        page = self.folder / "new" / "page.html"
        table = self.folder / "table.txt"
        done = run(*QUICK, "--prompt", "32,64", "--reduce", "none,stride@20%", "--html", page,
                   "--output", table)
        self.assertEqual((done.returncode, done.stdout), (0, ""), done.stderr)
        text = table.read_text()
        for part in ("prefill tok/s", "GFLOP/s", "GB/s", "stride@20%", "peak MiB"):
            self.assertIn(part, text)
        html = page.read_text()
        self.assertEqual(html.count('<svg class="plot"'), 3)
        self.assertIn("stride@20%", html)

    def test_cancelled(self):
        process = subprocess.Popen(  # a moment, then hours
            [str(support.program), "bench", "--model", SMALL, "--prompt", "16,1048576", "--repeats",
             "2", "--decode", "1", "--reduce", "none,stride@20%", "--json"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        wait_until(lambda: catches_interrupts(process), process)
        time.sleep(3)  # wherever it is by then
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, errors)
        found = json.loads(out)
        self.assertIs(found["complete"], False)
        self.assertIn(b"cancelled: ", errors)
        # What was through by then is told, and nothing else.
        self.assertEqual({row["prompt"] for row in found["rows"]} - {16}, set())

    def test_refused(self):
        self.fails(2, "bench", names=["--model", "--shape"])
        self.fails(2, "bench", "--shape", "mamba2-2.8b",
                   names=["--shape", "'mamba2-2.8b'", "mamba2-2.7b", "falcon-mamba-7b",
                          "did you mean"])
        self.fails(2, "bench", "--shape", "mamba-130m", "--model", SMALL,
                   names=["--shape", "--model"])
        self.fails(2, "bench", "--model", SMALL, "--weights", "f32", names=["--weights", "--shape"])
        for option, wrong in (("--prompt", "12,x"), ("--prompt", "0"), ("--batch", "1,,2"),
                              ("--batch", "5000"), ("--prompt", "1e3")):
            self.fails(2, "bench", "--model", SMALL, option, wrong,
                       names=[f"{option}: got '", "expected whole numbers from 1 to"])
        self.fails(2, "bench", "--model", SMALL, "--decode", "-1", names=["--decode", "-1"])
        self.fails(2, "bench", "--model", SMALL, "--repeats", "0", names=["--repeats", "0"])
        self.fails(2, "bench", "--model", SMALL, "--reduce", "window=3", names=["--reduce", "window"])
        self.fails(2, "bench", "--model", SMALL, "--reduce", "utcr@30%",
                   names=["did you mean 'utrc'?"])
        self.fails(3, "bench", "--model", self.folder, names=[self.folder, "config.json"])
