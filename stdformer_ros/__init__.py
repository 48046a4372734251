"""Real-time 3D human meshes and joints from a camera stream, for ROS 2."""

import sys
from pkgutil import extend_path

# OpenVINO's import would report its use over the network, from a copy of this process (a fork), and
# that copy may outlive the node. OpenVINO goes without the module if it cannot be imported.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

# The generated messages (stdformer_ros.msg) are installed under the same package name in another
# folder; extend_path lets both be imported when Python runs from the source tree.
__path__ = extend_path(__path__, __name__)
