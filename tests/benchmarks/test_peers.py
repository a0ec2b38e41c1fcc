"""The peers, with a net so small that they take no time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import peers


def test_peers_run_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def absent(net: peers.Net, threads: int | None) -> None:
        raise ImportError("there is no such runtime")

    monkeypatch.setitem(peers.PEERS, "OpenCV DNN", (absent, "opencv-python-headless"))
    out = tmp_path / "peers.json"
    message = ["torch eager", "ONNX Runtime", "OpenCV DNN"]
    message = [word for name in message for word in ("--peer", name)]
    assert peers.main(
        [*message, "--size", "96x64", "--channels", "4", "--rounds", "2", "--pictures", "1",
         "--frames", "6", "--threads", "1", "--out", str(out)]
    ) == 0  # fmt: skip
    document = json.loads(out.read_text())
    rows = {row["name"]: row for row in document["figures"]["rows"]}
    assert list(rows) == [
        "torch eager",
        "ONNX Runtime",
        "rtstyle, file to file",
        "FFmpeg decode → scale → encode",
    ]
    assert all(row["fps"] > 0 for row in rows.values())
    assert rows["torch eager"]["ratio"] == 1
    assert rows["ONNX Runtime"]["off_by"] < 1, "the same net paints the same"
    assert rows["rtstyle, file to file"]["off_by"] is None
    assert document["missing"] == ["OpenCV DNN: there is no such runtime"]
    assert "not measured: OpenCV DNN" in capsys.readouterr().out
