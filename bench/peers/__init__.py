# SPDX-License-Identifier: Apache-2.0
"""edgekern beside other runtimes, on the same int8 models: `nox -s peers`."""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before anything here imports ONNX Runtime
