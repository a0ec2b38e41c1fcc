"""Ray, joined where it runs or started here for as long as it is needed."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from rtstyle.errors import ClusterError, install_line
from rtstyle.metrics import n_cores
from rtstyle.rendering.store import FolderLock

_ANSWER_SECONDS = 5.0
_PREFIX = "rtstyle-ray-"
_STORE_BYTES = 256 << 20  # for finished segments and pieces of inputs; Ray spills more to disk
_TEMPORARY = Path(tempfile.gettempdir() if os.name == "nt" else "/tmp")  # as Ray has it
# How an HTTP/2 client opens a connection, with empty settings, and the kind of frame that answers.
_HELLO, _SETTINGS = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]), 4


@contextmanager
def connected(address: str, *, cpus: int, gpus: tuple[int, ...]) -> Iterator[Path]:
    """Within it, this process is connected to Ray at `address`, "host:port" or "auto".

    "auto" joins the Ray that RAY_ADDRESS names or `ray start` began on this machine; without one
    it starts its own for at least `cpus` CPUs and for these `gpus`, or all, with an access key of
    its own, and shuts it down on leaving. Yields a folder for the workers' files: its own, which is
    removed, or a path relative to the folder for temporary files. Raises `ClusterError`.
    """
    ray = _library()
    found = _running() if address == "auto" else address
    before = signal.getsignal(signal.SIGTERM)
    with _own_folder() if found is None else nullcontext() as folder:
        try:
            try:
                if folder is None:
                    _join(ray, str(found))
                else:
                    _start(ray, folder, cpus, gpus)
            finally:
                if threading.current_thread() is threading.main_thread():
                    signal.signal(signal.SIGTERM, before)  # Ray has its own
            yield folder or Path()
        finally:
            ray.shutdown()


def _library() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # As later versions of Ray do anyway: leave GPUs visible to workers that ask for none.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # Ray reports lost workers on stdout; they are replaced here, and every line is skipped.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
    try:
        import ray
    except ImportError:
        raise ClusterError(
            f"--cluster needs Ray, which is not installed: {install_line('cluster')}."
        ) from None
    return ray


def _running() -> str | None:
    """The address that RAY_ADDRESS names, or of the Ray that `ray start` began here if it answers.

    `ray start` leaves its address in the file that the documentation of `ray.init` names.
    """
    if address := os.environ.get("RAY_ADDRESS"):
        return address
    noted = Path(os.environ.get("RAY_TMPDIR", _TEMPORARY)) / "ray" / "ray_current_cluster"
    try:
        address = noted.read_text().strip()
    except (OSError, ValueError):
        return None
    return address if answers(address) else None


def _join(ray: Any, address: str) -> None:
    if not answers(address):
        raise ClusterError(
            f"No Ray answers at {address}; give the host:port that `ray start --head` printed, on "
            "a machine that is part of the cluster, or --cluster auto for this machine alone."
        )
    try:
        ray.init(address=address, **_QUIET)
    except (SystemExit, OSError, RuntimeError, ValueError, AssertionError) as error:
        raise ClusterError(
            f"Ray at {address} cannot be joined ({_first_line(error)}); it takes the same version "
            "of Ray and Python, and this machine as a part of the cluster."
        ) from error


def _start(ray: Any, folder: Path, cpus: int, gpus: tuple[int, ...]) -> None:
    # Ray asks for a key by itself; without one it would leave a new one in the user's home.
    if "RAY_AUTH_TOKEN_PATH" not in os.environ:
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    if gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, gpus))
    try:
        ray.init(
            address="local",
            num_cpus=max(cpus, n_cores()),
            num_gpus=len(gpus) or None,
            include_dashboard=False,
            object_store_memory=_STORE_BYTES,
            _node_ip_address="127.0.0.1",
            _temp_dir=str(folder),
            **_QUIET,
        )
    except (SystemExit, OSError, RuntimeError, ValueError) as error:
        raise ClusterError(f"Ray does not start here: {_first_line(error)}.") from error


_QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}


def answers(address: str) -> bool:
    """Whether a server that speaks HTTP/2, as Ray does, listens at "host:port".

    `ray.init` itself waits for minutes where none does, and then ends the process.
    """
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _ANSWER_SECONDS) as link:
            link.settimeout(_ANSWER_SECONDS)
            link.sendall(_HELLO)
            answer = link.recv(9)
    except (OSError, ValueError, OverflowError):
        return False
    return len(answer) > 3 and answer[3] == _SETTINGS


@contextmanager
def _own_folder() -> Iterator[Path]:
    """A folder for this process, with a short path as sockets need; removed on leaving. Those of
    processes that were killed are removed first."""
    for old in _TEMPORARY.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            lock = FolderLock(old)  # `BlockingIOError` while its process lives
            shutil.rmtree(old, ignore_errors=True)
            lock.release()
    folder = _TEMPORARY / f"{_PREFIX}{secrets.token_hex(4)}"
    try:
        lock = FolderLock(folder)
    except OSError as error:
        raise ClusterError(
            f"Ray needs to write in {_TEMPORARY}: {error.strerror or error}."
        ) from error
    folder.chmod(0o700)
    try:
        yield folder
    finally:
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
