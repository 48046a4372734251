"""Real-time 3D human meshes and joints from a camera stream, for ROS 2."""

from pkgutil import extend_path

# The generated messages (stdformer_ros.msg) are installed under the same package name in another
# folder; extend_path lets both be imported when Python runs from the source tree.
__path__ = extend_path(__path__, __name__)
