#!/usr/bin/env python3
"""Compiles src/*/*.cu with CUDA's run-time compiler for several devices and for every way the program compiles them.

Needs no GPU. Exit code 77: the compiler (part `nvrtc` of scripts/parts.lock) isn't in the cache.
"""

import ctypes
import itertools
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
DEVICES = ["sm_80", "sm_90", "sm_100"]
TERMS = ["REVERSE_KL", "JSD", "SKEW_KL", "SKEW_RKL", "TVD"]


def compiler():
    found = subprocess.run([sys.executable, "-B", str(ROOT / "scripts/parts.py"), "path", "nvrtc"], capture_output=True,
                           text=True, check=True).stdout.strip()
    library = next(iter(sorted(pathlib.Path(found).glob("nvidia/cu*/lib/libnvrtc.so.*"))), None)
    if library is None:
        print(f"skipped: there is no libnvrtc in {found}; `make test` fetches it")
        sys.exit(77)
    for builtins in sorted(library.parent.glob("libnvrtc-builtins.so.*")):
        ctypes.CDLL(str(builtins), mode=ctypes.RTLD_GLOBAL)
    return ctypes.CDLL(str(library))


def compile_one(nvrtc, path, device, options):
    """The compiler's words, or nothing."""
    program = ctypes.c_void_p()
    text = path.read_bytes()
    if nvrtc.nvrtcCreateProgram(ctypes.byref(program), text, path.name.encode(), 0, None, None) != 0:
        return "the program was not taken"
    arguments = [option.encode() for option in options + [f"--gpu-architecture={device}", "--std=c++17"]]
    result = nvrtc.nvrtcCompileProgram(program, len(arguments), (ctypes.c_char_p * len(arguments))(*arguments))
    size = ctypes.c_size_t()
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    words = log.value.decode().strip()
    return words or (f"error {result}" if result != 0 else "")


def ways(path):
    if path.name == "row_kernels.cu":
        shapes = [(8, 2), (64, 1), (64, 3), (80, 4), (128, 4), (128, 8), (256, 8)]
        return [[]] + [[f"-DHEAD_DIM={width}", f"-DGROUP={group}"] for width, group in shapes]
    if path.name == "objective_rows.cu":
        alone = [tuple(term == one for term in TERMS) for one in TERMS] + [(False,) * 5, (True,) * 5]
        return [[f"-DLOGITS_BF16={half}"] + [f"-D{term}={int(on)}" for term, on in zip(TERMS, terms)]
                for half, terms in itertools.product((0, 1), alone)]
    return [[]]


def main():
    nvrtc = compiler()
    paths = sorted((ROOT / "src").glob("*/*.cu"))
    failures, count = 0, 0
    for path, device in itertools.product(paths, DEVICES):
        for options in ways(path):
            words = compile_one(nvrtc, path, device, options)
            count += 1
            if words:
                failures += 1
                print(f"{path.relative_to(ROOT)} for {device} with {' '.join(options)}:\n{words}")
    if not paths:
        print("there are no kernels")
        failures = 1
    print(f"{count} compilations of {len(paths)} files, {failures} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
