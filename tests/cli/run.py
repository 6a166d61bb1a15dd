"""End-to-end tests of the built program: python3 tests/cli/run.py PROGRAM [unittest options],
such as -v, or -k NAME for some of them.

What scripts may rely on is tested from the outside: the fixed JSON forms, exit codes, which stream
a text goes to, what an interrupt leaves behind. Needs the shipped models, unpacked.
"""

import pathlib
import sys
import unittest

if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: run.py PROGRAM [unittest options]")
    here = pathlib.Path(__file__).resolve().parent
    sys.path.insert(0, str(here))
    import support

    support.program = pathlib.Path(sys.argv.pop(1)).resolve()
    missing = [str(m) for m in support.MODELS if not (m / "model.safetensors").exists()]
    if missing:
        sys.exit("not unpacked (xz -dk model.safetensors.xz): " + ", ".join(missing))
    unittest.main(module=None, argv=[sys.argv[0], "discover", "-s", str(here), "-p", "*_test.py",
                                     *sys.argv[1:]])
