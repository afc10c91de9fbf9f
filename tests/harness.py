"""What the scripts of tests share: the built programs, checks and waits, and a gollmd of a test's own."""

import concurrent.futures
import contextlib
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILT = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve() / "debug"


class Failed(Exception):
    """Something is not as it should be."""


def check(holds, expected, came=""):
    if not holds:
        raise Failed(f"expected {expected}; came: {came}")


def passed(what):
    print(f"ok: {what}", flush=True)


def until(longest, what, done, shown=lambda: ""):
    """What `done` gives, once it gives something; `shown` tells what there is where it gives nothing in `longest` seconds."""
    end = time.monotonic() + longest
    while time.monotonic() < end:
        found = done()
        if found:
            return found
        time.sleep(0.05)
    raise Failed(f"{what}: not within {longest} s\n{shown()}")


def needs(packages, *programs):
    """Ends the script where one of these is not there, or gollm is not built."""
    script = pathlib.Path(sys.argv[0]).resolve().relative_to(ROOT)
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        sys.exit(f"{script}: {', '.join(missing)} is not there: apt-get install {packages}")
    for name in ("gollmd", "gollmctl"):
        if not (BUILT / name).exists():
            sys.exit(f"{script}: {BUILT / name} is not there: run `cargo build --bins`")


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


class Gollmd:
    """A gollmd whose socket, store and log lie in a directory; no act of it may take longer than `longest` seconds."""

    def __init__(self, place, config, longest, password="a password of a test"):
        self.place, self.config, self.longest = place, config, longest
        self.socket, self.log = place / "gollmd.sock", place / "log"
        self.environment = {"PATH": os.environ["PATH"], **({"GOLLM_MASTER_PASSWORD": password} if password else {})}
        self.process = None

    def start(self):
        command = [BUILT / "gollmd", "--config", self.config, "--socket", self.socket, "--state-dir", self.place / "state"]
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(command, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until(self.longest, "gollmd to serve", lambda: self.ctl("whoami").returncode == 0, self.log.read_text)

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(self.longest)

    @contextlib.contextmanager
    def running(self):
        """Serves for as long as the `with` block runs."""
        try:
            self.start()
            yield
        finally:
            self.stop()

    def ctl(self, *arguments):
        command = [BUILT / "gollmctl", "--socket", self.socket, *arguments]
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=self.longest)

    def total(self):
        """What `gollmctl stats` says of all usage."""
        return json.loads(self.ctl("stats", "--json").stdout)["total"]

    @contextlib.contextmanager
    def connection(self):
        """A connection: gives what asks on it, and returns the reply."""
        with socket.socket(socket.AF_UNIX) as gollmd:
            gollmd.connect(str(self.socket))
            lines = gollmd.makefile("rw", encoding="utf-8")

            def ask(op):
                lines.write(json.dumps({"id": 1, "op": op}) + "\n")
                lines.flush()
                return json.loads(lines.readline())["reply"]

            yield ask


def play(scenarios, at_once=1):
    """Runs each scenario with a directory of its own, says how it went, and ends the script."""

    def run(scenario):
        scratch = pathlib.Path(tempfile.mkdtemp(prefix="gollm-test-"))
        try:
            scenario(scratch)
            return None
        except Exception as why:  # noqa: BLE001: any of them is a failure of the scenario
            log = (scratch / "log").read_text() if (scratch / "log").exists() else ""
            return f"{type(why).__name__}: {why}\n{log}"
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    failed = 0
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        for scenario, why in zip(scenarios, pool.map(run, scenarios)):
            print(f"{'ok' if why is None else 'FAILED'}  {scenario.__name__}: {scenario.__doc__.strip()}", flush=True)
            if why is not None:
                failed += 1
                print(why, file=sys.stderr)
    sys.exit(1 if failed else 0)
