"""A systemd that is booted in namespaces for a test, and what the tests in it share."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
LONGEST = 90


def fail(what):
    sys.exit(f"{sys.argv[0]}: {what}")


def check(holds, expected, came):
    if not holds:
        fail(f"expected {expected}; came: {came}")


def passed(what):
    print(f"ok: {what}", flush=True)


def until(what, done):
    end = time.monotonic() + LONGEST
    while time.monotonic() < end:
        found = done()
        if found:
            return found
        time.sleep(0.1)
    fail(f"{what}: not within {LONGEST} s")


class System:
    """A booted systemd."""

    def __init__(self, lower, scratch):
        command = ["unshare", "--fork", "--pid", "--mount", "--uts", "--ipc", "--net", "--cgroup", "--propagation", "private"]
        self.process = subprocess.Popen([*command, HERE / "boot", lower, scratch], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.pid = until("the first process of the system", self.first)
        until("a system that is up", lambda: self.run("systemctl", "is-system-running").stdout.strip() in ("running", "degraded"))

    def first(self):
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        check(self.process.poll() is None, "a system that boots", f"exit status {self.process.poll()}")
        return next(iter(children.read_text().split()), None)

    def run(self, *command, given=None, user=None):
        enter = ["nsenter", "-t", self.pid, "-a"]
        become = ["setpriv", "--reuid", user, "--regid", user, "--init-groups"] if user else []
        return subprocess.run([*enter, *become, *command], input=given, capture_output=True, text=True, timeout=LONGEST)

    def must(self, *command, given=None, user=None):
        ran = self.run(*command, given=given, user=user)
        check(ran.returncode == 0, f"{' '.join(map(str, command))} to pass", f"{ran.returncode}: {ran.stdout}{ran.stderr}")
        return ran.stdout

    def write(self, path, text, mode=0o644):
        self.must("sh", "-c", f"mkdir -p $(dirname {path}) && cat > {path} && chmod {mode:o} {path}", given=text)

    def install(self, path, source):
        with open(source, "rb") as file:
            subprocess.run(["nsenter", "-t", self.pid, "-a", "sh", "-c", f"cat > {path} && chmod 755 {path}"], stdin=file, check=True)

    def ctl(self, *arguments, user=None):
        return self.run("gollmctl", "--json", *arguments, user=user)

    def role(self, user=None):
        you = json.loads(self.ctl("whoami", user=user).stdout or "{}")
        return you.get("role"), you.get("rule")

    def main_pid(self):
        return self.must("systemctl", "show", "-p", "MainPID", "--value", "gollmd").strip()

    def end(self):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(self.pid), signal.SIGKILL)
        self.process.wait()


def built_programs():
    programs = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve() / "debug"
    for name in ("gollmd", "gollmctl"):
        if not (programs / name).exists():
            fail(f"{programs / name} is not there: run `cargo build --bins`")
    return programs


@contextlib.contextmanager
def booted(*units):
    """A system, and a directory for what the test makes outside of it. The journal of `units` is shown when the test fails."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(f"{sys.argv[0]}: ended by a signal"))
    with tempfile.TemporaryDirectory(prefix="gollm-systemd-") as directory:
        scratch = pathlib.Path(directory)
        lower = pathlib.Path(os.environ.get("SYSTEMD_ROOT", scratch / "debian"))
        if not (lower / "lib/systemd/systemd").exists():
            include = "systemd,systemd-sysv,dbus,libpam-systemd"
            made = subprocess.run(["debootstrap", "--variant=minbase", f"--include={include}", "bookworm", lower], capture_output=True, text=True)
            check(made.returncode == 0, "debootstrap to pass", made.stdout[-1500:] + made.stderr[-1500:])
        (scratch / "boot").mkdir()
        system = System(lower, scratch / "boot")
        try:
            yield system, scratch
        except SystemExit:
            named = [word for unit in units for word in ("-u", unit)]
            sys.stderr.write(system.run("journalctl", *named, "--no-pager", "-n", "60").stdout)
            raise
        finally:
            system.end()
