"""One target under the fuzzer, in a process of its own: libFuzzer ends the process when it is done.

::

    python -m tests.fuzzing.process TARGET [options of libFuzzer] [folders of inputs]
"""

from __future__ import annotations

import shlex
import sys

import atheris

with atheris.instrument_imports(include=["crypto"]):
    from tests.fuzzing.mutations import mutate
    from tests.fuzzing.targets import TARGETS


def main(name: str, options: list[str]) -> None:
    """Fuzz until libFuzzer has had enough."""
    target = TARGETS[name]

    def custom_mutator(data: bytes, size_max: int, seed: int) -> bytes:
        return mutate(target, data, size_max, seed, atheris.Mutate)

    # When it merges, libFuzzer starts itself anew through a shell, by what it takes for the name of its program.
    command = shlex.join([sys.executable, "-m", "tests.fuzzing.process", name])
    atheris.Setup([command, *options], target, custom_mutator=custom_mutator)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
