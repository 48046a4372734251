"""A camera for the benchmarks: one real picture again and again, with a new stamp each time.

`python -m stdformer_ros.bench.ros_camera PICTURE HZ SECONDS --ros-args ...` prints how many images
it has published, and how many a second.
"""

from __future__ import annotations

import sys
import time

import cv2
import rclpy
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from stdformer_ros.ros.outputs.messages import rgb_message
from stdformer_ros.types import ImageArray


def picture_message(path: str) -> Image:
    """A picture's file as a message without stamp."""
    bgr = cv2.imread(path)
    if bgr is None:
        raise SystemExit(f"bench: {path} is no picture")
    rgb: ImageArray = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
    return rgb_message(Header(frame_id="bench"), rgb)


def main(arguments: list[str]) -> int:
    """Publish at a steady rate; what comes too late for its time is published at once."""
    path, hertz, seconds = arguments[0], float(arguments[1]), float(arguments[2])
    rclpy.init(args=arguments[3:])
    node = rclpy.create_node("bench_camera")
    publisher = node.create_publisher(Image, "image", qos_profile_sensor_data)
    message = picture_message(path)
    while not publisher.get_subscription_count():
        time.sleep(0.05)
    began = time.monotonic()
    published = 0
    while (now := time.monotonic()) < began + seconds:
        message.header.stamp = node.get_clock().now().to_msg()
        publisher.publish(message)
        published += 1
        time.sleep(max(0.0, began + published / hertz - time.monotonic()))
    print(f"{published} {published / (now - began):.1f}", flush=True)
    node.destroy_node()
    rclpy.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
