"""Programs in processes of their own, led line by line through pipes: no test sleeps to be in time."""

import os
import selectors
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0


class Program:
    """A Python program that says what it does on standard output and waits for words on standard input.

    Args:
        path: Where the program is written.
        text: Its source.
        args: Its arguments.
        env: Environment variables beside the test's own.
    """

    def __init__(self, path: Path, text: str, *args: object, env: dict[str, str] | None = None, **options: Any) -> None:
        path.write_text(text, "utf-8")
        self.process = subprocess.Popen(
            [sys.executable, str(path), *map(str, args)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **(env or {})},
            **options,
        )
        self.lines: list[str] = []
        self._rest = b""

    def __enter__(self) -> "Program":
        return self

    def __exit__(self, *exc: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def say(self, word: str = "go") -> None:
        """Write a line to the program."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n".encode())
        self.process.stdin.flush()

    def expect(self, start: str) -> str:
        """Read lines until one starts with `start`, and return it."""
        while True:
            line = self._next_line()
            assert line is not None, f"no {start!r} in {self.lines}; stderr: {self._errors()}"
            self.lines.append(line)
            if line.startswith(start):
                return line

    def kill(self) -> None:
        """Kill the program as the system would for want of memory."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE_S)

    def finish(self, code: int = 0) -> tuple[list[str], str]:
        """Wait for the program's end; return all it said, and what it wrote to standard error."""
        out, errors = self.process.communicate(timeout=PATIENCE_S)
        self.lines += (self._rest + out).decode().splitlines()
        assert self.process.returncode == code, f"exit code {self.process.returncode}: {errors.decode()}"
        return self.lines, errors.decode()

    def _next_line(self) -> str | None:
        assert self.process.stdout is not None
        while b"\n" not in self._rest:
            with selectors.DefaultSelector() as selector:
                selector.register(self.process.stdout, selectors.EVENT_READ)
                if not selector.select(PATIENCE_S):
                    return None
            chunk = os.read(self.process.stdout.fileno(), 65536)
            if not chunk:
                return None
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()

    def _read_ahead(self) -> None:
        """Take the lines that came together with one that was read already."""
        while b"\n" in self._rest:
            self.lines.append(self._next_line() or "")

    def _errors(self) -> str:
        self.process.kill()
        assert self.process.stderr is not None
        return self.process.stderr.read().decode()


def first_to_say(start: str, *programs: Program) -> Program:
    """Read from several programs until one says a line that starts with `start`; return that one."""
    with selectors.DefaultSelector() as selector:
        for program in programs:
            assert program.process.stdout is not None
            selector.register(program.process.stdout, selectors.EVENT_READ, program)
            program._read_ahead()
        while not (found := [p for p in programs if any(line.startswith(start) for line in p.lines)]):
            ready = selector.select(PATIENCE_S)
            assert ready, f"nobody says {start!r}: {[program.lines for program in programs]}"
            for key, _ in ready:
                program = key.data
                program.lines.append(program._next_line() or "")
                program._read_ahead()
    return found[0]


def run_program(path: Path, text: str, *args: object, code: int = 0, **options: Any) -> tuple[list[str], str]:
    """Run a program to its end; return what it said, and what it wrote to standard error."""
    with Program(path, text, *args, **options) as program:
        return program.finish(code)
