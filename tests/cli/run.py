"""End-to-end tests of the built program: python3 tests/cli/run.py PROGRAM [unittest options].

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
    tests = unittest.defaultTestLoader.discover(str(here), pattern="*_test.py")
    result = unittest.TextTestRunner(verbosity=2 if "-v" in sys.argv else 1).run(tests)
    sys.exit(not result.wasSuccessful())
