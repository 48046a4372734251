"""More images than the models can take: latency must stay near the time for one image.

`python -m stdformer_ros.bench.ros_overload PICTURE JSON`: a camera process publishes the picture 60
times a second, the models are held up to 80 ms for each image.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from stdformer_ros.bench.ros_client import REMAPPED, BenchError, Client, NodeProcess, run_bench

HERTZ = 60.0
MODEL_SECONDS = 0.08
SECONDS = 16.0
SETTLING = 0.25
"""Part of the run that does not count."""


def measure(picture: Path) -> dict[str, float]:
    """Latency against processing, memory, and drops.

    Raises:
        BenchError: if too little was answered to say anything.
    """
    client = Client()
    try:
        with tempfile.TemporaryDirectory() as folder:
            with NodeProcess(Path(folder) / "log", MODEL_SECONDS) as process:
                client.wait_for(process)
                command = [sys.executable, "-m", "stdformer_ros.bench.ros_camera", str(picture)]
                command += [str(HERTZ), str(SECONDS), *REMAPPED]
                camera = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
                client.until(lambda: len(client.latencies) > 0, 30.0)
                client.until(lambda: False, SETTLING * SECONDS)
                settled, memory = set(client.latencies), process.resident_bytes()
                client.until(lambda: camera.poll() is not None, SECONDS + 30.0)
                process.check()
                grown = process.resident_bytes() / memory - 1.0
                client.until(lambda: False, 1.5)  # the last diagnostics
                took = [t.models for t in process.timings().values()][len(settled) :]
            output, _ = camera.communicate()
        if len(output.split()) != 2:
            raise BenchError("the camera failed")
        published = int(output.split()[0])
        late = [v for stamp, v in client.latencies.items() if stamp not in settled]
        if len(late) < 10:
            raise BenchError(f"only {len(late)} of {published} images were answered")
        processing = float(np.median(took))
        return {
            "overload_latency_over_processing": float(np.percentile(late, 99)) / processing,
            "overload_latency_p99_ms": 1e3 * float(np.percentile(late, 99)),
            "overload_processing_ms": 1e3 * processing,
            "overload_resident_growth": grown,
            "overload_published": float(published),
            "overload_answered": float(len(client.latencies)),
            "overload_dropped": float(client.dropped),
        }
    finally:
        client.close()


if __name__ == "__main__":
    sys.exit(run_bench(measure, sys.argv[1:]))
