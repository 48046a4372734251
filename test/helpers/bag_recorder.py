"""Bags as a recorder writes them, with messages for the fake pipeline."""

import struct

import cv2
import numpy as np
from rclpy.serialization import deserialize_message, serialize_message
from rosbags import rosbag1, rosbag2
from rosbags.rosbag2 import StoragePlugin
from rosbags.typesys import Stores, get_typestore
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from helpers.fake_pipeline import FILL
from helpers.ros_client import stamp_of
from stdformer_ros.msg import HumanArray

IMAGE, INFO, DEPTH = "sensor_msgs/msg/Image", "sensor_msgs/msg/CameraInfo", "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"


ERROR, CTRL_C = 255, 254
"""In place of a number of people: what happens at this image."""


def image(seconds, people=1):
    pixels = np.full((48, 64, 3), FILL, np.uint8)
    pixels[0, 0] = (0, people, 0) if people in (ERROR, CTRL_C) else (people, 0, 0)
    header = Header(stamp=stamp_of(seconds), frame_id="optical")
    return Image(
        header=header, height=48, width=64, encoding="rgb8", step=192, data=pixels.tobytes()
    )


def depth(seconds, metres):
    values = np.full((48, 64), 1000 * metres, np.uint16)
    header = Header(stamp=stamp_of(seconds), frame_id="optical")
    return Image(
        header=header, height=48, width=64, encoding="16UC1", step=128, data=values.tobytes()
    )


def info():
    k = [60.0, 0.0, 31.5, 0.0, 60.0, 23.5, 0.0, 0.0, 1.0]
    return CameraInfo(width=64, height=48, k=k)


def compressed(message, format="rgb8; png compressed bgr8"):
    """The picture of an Image as PNG."""
    pixels = np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3)
    data = cv2.imencode(".png", pixels[..., ::-1])[1].tobytes()
    return CompressedImage(header=message.header, format=format, data=data)


def write_bag(folder, messages, storage=StoragePlugin.SQLITE3):
    """Messages are (topic, type's name, message); one is recorded every 10 ms."""
    store = get_typestore(Stores.ROS2_KILTED)
    with rosbag2.Writer(folder, version=9, storage_plugin=storage) as writer:
        connections = {
            topic: writer.add_connection(topic, kind, typestore=store)
            for topic, kind in {topic: kind for topic, kind, _ in messages}.items()
        }
        for i, (topic, _, message) in enumerate(messages):
            data = message if isinstance(message, bytes) else serialize_message(message)
            writer.write(connections[topic], 10**9 + i * 10**7, data)
    return folder


def write_ros1_bag(file, messages):
    """The same as ROS 1 records it."""
    ros1, ros2 = get_typestore(Stores.ROS1_NOETIC), get_typestore(Stores.ROS2_KILTED)
    with rosbag1.Writer(file) as writer:
        connections = {
            topic: writer.add_connection(topic, kind, typestore=ros1)
            for topic, kind in {topic: kind for topic, kind, _ in messages}.items()
        }
        for i, (topic, kind, message) in enumerate(messages):
            data = bytes(ros2.cdr_to_ros1(serialize_message(message), kind))
            writer.write(connections[topic], 10**9 + i * 10**7, struct.pack("<I", i) + data)
    return file


def results_of(out):
    """The recorded times and messages of /stdformer/humans."""
    return read_bag(out / "humans", "/stdformer/humans", HumanArray)


def people_of(out):
    return [len(message.humans) for _, message in results_of(out)]


def read_bag(folder, topic, kind):
    with rosbag2.Reader(folder) as reader:
        return [
            (time_ns, deserialize_message(bytes(data), kind))
            for connection, time_ns, data in reader.messages()
            if connection.topic == topic
        ]
