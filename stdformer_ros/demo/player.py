"""Publishes a video, a folder of images or a webcam as a camera driver would.

The topics are `image` and `camera_info`, best effort; stamps are the time of publishing. For each
frame it prints one line to the standard output: its number and its stamp in nanoseconds.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Event

from stdformer_ros.stopping import exit_on_signals, stop_requests

if __name__ == "__main__":  # the other imports take seconds
    exit_on_signals(0)

import rclpy
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.io.files import VideoError
from stdformer_ros.io.pictures import VideoWriter
from stdformer_ros.io.video import read_camera, read_video
from stdformer_ros.ros.outputs.messages import rgb_message
from stdformer_ros.types import Frame

FRAME_ID = "camera_optical_frame"
RECORDED_FPS = 30.0
DISCOVERY_SECONDS = 0.5
"""The pause after the player has discovered a subscriber: images are lost until the subscriber has
also discovered the player."""


class Player(Node):
    """A node that publishes frames as a camera driver would."""

    def __init__(self) -> None:
        super().__init__("player")
        self._image = self.create_publisher(Image, "image", qos_profile_sensor_data)
        self._info = self.create_publisher(CameraInfo, "camera_info", qos_profile_sensor_data)

    def wait_for_subscriber(self, stop: Event) -> None:
        """Return when the images have a subscriber, or when `stop` is set."""
        while self._image.get_subscription_count() == 0 and not stop.is_set():
            stop.wait(0.02)
        stop.wait(DISCOVERY_SECONDS)

    def publish(self, frame: Frame) -> int:
        """Publish the frame with the present time as its stamp.

        Returns:
            Its stamp in nanoseconds.
        """
        now = self.get_clock().now()
        header = Header(stamp=now.to_msg(), frame_id=FRAME_ID)
        self._info.publish(camera_info(header, frame.camera))
        self._image.publish(rgb_message(header, frame.image))
        return now.nanoseconds


def camera_info(header: Header, camera: Camera) -> CameraInfo:
    """The camera as a message; K stays zero for assumed intrinsics, which are no calibration."""
    info = CameraInfo(header=header, width=camera.width, height=camera.height)
    if camera.known:
        info.distortion_model, info.d = "plumb_bob", [0.0] * 5
        info.k = [camera.fx, 0.0, camera.cx, 0.0, camera.fy, camera.cy, 0.0, 0.0, 1.0]
        info.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
        info.p = [camera.fx, 0.0, camera.cx, 0.0, 0.0, camera.fy, camera.cy, *[0.0] * 3, 1.0, 0.0]
    return info


def paced(frames: Iterator[Frame], seconds: float | None, stop: Event) -> Iterator[Frame]:
    """The frames at the rate of their stamps, for `seconds` of them or until `stop` is set."""
    start = first = None
    for frame in frames:
        if start is None or first is None:
            start, first = time.monotonic(), frame.stamp
        if seconds is not None and frame.stamp - first >= seconds:
            return
        if stop.wait(max(0.0, start + (frame.stamp - first) - time.monotonic())):
            return
        yield frame


def main(args: Sequence[str] | None = None) -> int:
    """Play until the end, or with --loop until SIGINT or SIGTERM.

    Returns:
        0, or 1 if the video cannot be read.
    """
    parser = argparse.ArgumentParser(prog="player", description=__doc__.splitlines()[0])
    parser.add_argument("video", nargs="?", type=Path, help="a video file or a folder of images")
    parser.add_argument("--camera", type=int, metavar="N", help="a webcam instead of a video")
    parser.add_argument("--seconds", type=float, help="stop after so many seconds of the video")
    parser.add_argument("--loop", action="store_true", help="start over at the end")
    parser.add_argument(
        "--record", type=Path, metavar="MP4", help="write a video of what is published"
    )
    options = parser.parse_args(remove_ros_args(list(sys.argv if args is None else args))[1:])
    if (options.video is None) == (options.camera is None):
        parser.error("give either a video or --camera")
    with stop_requests() as stop:
        arguments = None if args is None else list(args)
        rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
        player = Player()
        try:
            play(player, options, stop)
        except VideoError as error:
            print(f"player: {error}", file=sys.stderr)
            return 1
        finally:
            player.destroy_node()
            rclpy.shutdown()
    return 0


def play(player: Player, options: argparse.Namespace, stop: Event) -> None:
    """Publish the video or webcam of the options, until its end or until `stop` is set."""
    recorder: VideoWriter | None = None
    number = 0
    player.wait_for_subscriber(stop)
    try:
        while not stop.is_set():
            video, camera = options.video, options.camera
            frames = read_video(video) if video is not None else read_camera(camera)
            for frame in paced(frames, options.seconds, stop):
                stamp = player.publish(frame)
                print(number, stamp, flush=True)
                number += 1
                if options.record is not None:
                    if recorder is None:
                        size = (frame.camera.width, frame.camera.height)
                        recorder = VideoWriter(options.record, RECORDED_FPS, size)
                    recorder.write(frame.image)
            if not options.loop:
                return
    finally:
        if recorder is not None:
            recorder.close()


if __name__ == "__main__":
    sys.exit(main())
