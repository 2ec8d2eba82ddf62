"""Builds `ribcage.shared._core`: every C file below this folder behind one cffi module.

The declarations Python sees are the C headers themselves: `ribcage.h` includes every
public header, the C preprocessor expands it with RC_CFFI defined (which leaves out system
headers, inline functions and static asserts), and cffi parses what comes out. So a layout
is written once. Run by setuptools (`cffi_modules`) and by `make`; needs only a C compiler.
"""

import os
import re
import shlex
import subprocess
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent

# The generated glue is not ours to lint; the flags below hold for every file of ours.
PREAMBLE = """
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wcast-function-type"
#include "ribcage.h"
"""

CFLAGS = [
    "-std=gnu11", "-O3", "-g", "-fPIC", "-fvisibility=hidden",
    "-Wall", "-Wextra", "-Werror", "-Wshadow", "-Wconversion", "-Wvla",
    "-fstack-protector-strong", "-D_FORTIFY_SOURCE=2", "-DPy_LIMITED_API=0x030b0000",
]  # fmt: skip
LDFLAGS = ["-Wl,-z,relro", "-Wl,-z,now", "-pthread"]


def declarations() -> str:
    """The public headers as cffi wants them: preprocessed, without GNU attributes."""
    compiler = shlex.split(os.environ.get("CC", "cc"))
    command = [*compiler, "-E", "-P", "-DRC_CFFI", f"-I{HERE}", str(HERE / "ribcage.h")]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return re.sub(r"__attribute__\s*\(\(.*?\)\)", "", text)


ffibuilder = FFI()
ffibuilder.cdef(declarations())
ffibuilder.set_source(
    "ribcage.shared._core",
    PREAMBLE,
    sources=[os.path.relpath(path, ROOT) for path in sorted(HERE.rglob("*.c"))],
    include_dirs=[os.path.relpath(HERE, ROOT)],
    depends=[os.path.relpath(path, ROOT) for path in sorted(HERE.rglob("*.h"))],
    extra_compile_args=CFLAGS,
    extra_link_args=LDFLAGS,
    py_limited_api=True,
    define_macros=[("_GNU_SOURCE", "1")],
)

if __name__ == "__main__":
    print(declarations())
