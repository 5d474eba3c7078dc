"""Runs the built program for a test."""

import os
import subprocess

PROGRAM = os.environ.get("RETORT_PROGRAM", "build/bin/retort")


def retort(*arguments, **environment):
    """The finished process of `retort ARGUMENTS`, with text output and nothing to read."""
    return subprocess.run([PROGRAM, *arguments], env={**os.environ, **environment}, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=250, check=False)
