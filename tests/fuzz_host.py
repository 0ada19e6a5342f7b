"""libFuzzer, by atheris, at what reads files on the host: file_targets.py.

.venv/bin/python tests/fuzz_host.py TARGET [options of libFuzzer] FOLDER
"""

# SPDX-License-Identifier: MIT

import resource
import sys
import tracemalloc

import atheris

with atheris.instrument_imports(include=["wage_host"]):
    import file_targets

MEMORY_BYTES = 3 << 29  # for the whole program: what a file may take has an end


def main() -> None:
    """Fuzzes."""
    script, target, *options = sys.argv
    again = f"{sys.executable} {script} {target}"  # a shell's: merging starts it again
    file_targets.limit()
    if target == "models":  # whose memory is counted
        tracemalloc.start()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    atheris.Setup([again, *options], lambda data: file_targets.run(target, data))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
