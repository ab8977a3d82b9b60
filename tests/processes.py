"""`imgscan` in processes of its own, forked off one that has imported everything: real processes without the time of imports.

These take two to three seconds of a core, and a test of the command line that starts five scans would spend most of its time there.
Tests whose subject is the start itself (imports, signals, closed streams, torchrun) start Python for themselves.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

# Runs in the process that all others are forked off. Who asks for one gives standard streams and a socket, over which its number
# comes and, once it has ended, its exit status as Popen has it. Those that wait for one are processes too: several can run at once.
WARM = """
import gc, importlib, json, os, pkgutil, runpy, signal, socket, sys
import h5py, hdbscan, sklearn.cluster, timm, torchvision
import imgscan
for module in pkgutil.walk_packages(imgscan.__path__, "imgscan."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
assert len(os.listdir("/proc/self/task")) == 1, "forked beside threads a process may wait for ever"
gc.collect()
gc.freeze()
signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # so that nobody has to wait for those that wait
server = socket.socket(fileno=int(sys.argv[1]))
while True:
    message, streams, _, _ = socket.recv_fds(server, 1 << 20, 4)
    if not message:
        raise SystemExit
    if os.fork():  # the next, please
        for stream in streams:
            os.close(stream)
        continue
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    asked = json.loads(message)
    answer = socket.socket(fileno=streams.pop())
    process = os.fork()
    if process:
        answer.send(b"%d\\n" % process)
        answer.send(b"%d\\n" % os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
        os._exit(0)
    answer.close()
    server.close()
    os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    sys.argv[1:] = asked["args"]
    break
runpy.run_module("imgscan", run_name="__main__", alter_sys=True)
"""


@cache
def _warm() -> socket.socket:
    """The connection to the process that has imported everything; it ends with this one."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-c", WARM, str(theirs.fileno())]
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # OpenBLAS starts the others at once; a fork has one
    process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, env=os.environ | one_thread)
    theirs.close()
    atexit.register(process.wait)
    atexit.register(ours.close)
    return ours


def run(
    *args: object, cwd: Path | None = None, environment: dict[str, str] | None = None, timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """What `python -m imgscan ARGS` says and how it ends, as `subprocess.run(..., capture_output=True, text=True)` returns it.

    Args:
        cwd: where it runs; here by default.
        environment: its variables; this process's own but those that start with IMGSCAN_ by default.
        timeout: seconds; after them it is killed, with what it has started.

    Raises:
        subprocess.TimeoutExpired: after `timeout` seconds.
    """
    if environment is None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("IMGSCAN_")}
    if sys.platform != "linux":  # elsewhere a fork of what has imported torch may crash
        command = [sys.executable, "-m", "imgscan", *map(str, args)]
        return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=timeout, check=False)
    asked = {"args": [str(one) for one in args], "cwd": str(cwd or Path.cwd()), "environment": environment}
    ours, theirs = socket.socketpair()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err, Path(os.devnull).open() as empty, ours:
        with theirs:
            streams = [one.fileno() for one in (empty, out, err, theirs)]
            socket.send_fds(_warm(), [json.dumps(asked).encode()], streams)
        ours.settimeout(timeout)
        with ours.makefile() as said:
            process = int(said.readline())
            try:
                status = int(said.readline())
            except TimeoutError:
                os.killpg(process, signal.SIGKILL)
                raise subprocess.TimeoutExpired(asked["args"], timeout) from None
        for stream in (out, err):
            stream.seek(0)
        return subprocess.CompletedProcess(asked["args"], status, out.read(), err.read())
