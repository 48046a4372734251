"""Publishes on /tf and uses the node, in a process with tf2_msgs; prints what it received as JSON.

Started by test/ros/inputs/test_transforms.py with the log file for the node as its argument.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import rclpy
from rclpy.qos import DurabilityPolicy, QoSProfile
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray

from helpers.ros_client import Client, NodeProcess
from helpers.tf2_messages import stamped


def main(log: str) -> None:
    rclpy.init()
    client = Client()
    client.listen(TFMessage, "/tf")
    client.listen(MarkerArray, "/stdformer/markers")
    heard, heard_markers = client.heard["/tf"], client.heard["/stdformer/markers"]
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    static = client.node.create_publisher(TFMessage, "/tf_static", latched)
    moving = client.node.create_publisher(TFMessage, "/tf", 10)
    seen = {}
    with NodeProcess(Path(log), autostart=True, tf="joints", target_frame="odom") as node:
        assert client.until(lambda: client._image.get_subscription_count() > 0)
        warning = "no transform connects 'optical' to 'odom'"
        client.send_until(lambda: warning in node.output)
        seen["by tf2_ros"] = "transforms: tf2_ros is used" in node.output
        seen["answers without a transform"] = len(client.humans)
        # The camera looks along the robot's x axis, 1 m above its origin.
        optical = stamped("base", "optical", (0.0, 0.0, 1.0))
        r = optical.transform.rotation
        r.x, r.y, r.z, r.w = -0.5, 0.5, -0.5, 0.5
        static.publish(TFMessage(transforms=[optical]))

        start = client._stamp

        def drive_until(done, late=0.0):
            """The robot drives along x at 1 m/s, and its transforms come late."""
            for _ in range(60):
                seconds = client._stamp + 1 / 30 - late
                place = stamped("odom", "base", (10 + seconds - start, 0, 0), seconds=seconds)
                moving.publish(TFMessage(transforms=[place]))
                client.until(lambda: False, 0.05)
                client.send(1)
                if client.until(done, 0.2):
                    return
            raise AssertionError(f"nothing came\n{node.output}")

        def labels():
            """Those that belong to the newest answer."""
            markers = [marker for message in heard_markers for marker in message.markers]
            stamp = client.humans[-1].header.stamp
            return [m for m in markers if m.ns == "label" and m.header.stamp == stamp]

        drive_until(lambda: len(client.humans) > 8 and labels())
        answer = client.humans[-1]
        human = answer.humans[0]

        def of_a_person(message):
            return message.transforms and "human" in message.transforms[0].child_frame_id

        assert client.until(lambda: any(map(of_a_person, heard)))
        frames = [m for m in heard if of_a_person(m)][-1].transforms
        at_stamp = [
            m.transforms[0].transform.translation.x
            for m in heard
            if m.transforms[0].child_frame_id == "base"
            and m.transforms[0].header.stamp == answer.header.stamp
        ]
        (label,) = labels()
        at = label.pose.position
        seen["label"] = [label.text, at.x, at.y, at.z]
        seen["frame"] = answer.header.frame_id
        seen["robot"] = at_stamp[0] if at_stamp else None
        seen["pelvis"] = [human.joints[0].x, human.joints[0].y, human.joints[0].z]
        seen["velocity"] = [
            human.joint_velocities[0].x,
            human.joint_velocities[0].y,
            human.joint_velocities[0].z,
        ]
        seen["covariance"] = [human.pose.covariance[i] for i in (0, 7, 14)]
        seen["names"] = [f.child_frame_id for f in frames]
        seen["parents"] = [f.header.frame_id for f in frames]
        seen["head"] = next(
            [f.transform.translation.x, f.transform.translation.y, f.transform.translation.z]
            for f in frames
            if f.child_frame_id == "human_1_head"
        )
        assert "extrapolated" not in node.output
        count = len(client.humans)
        drive_until(lambda: len(client.humans) > count + 10, late=0.15)
        answer = client.humans[-1]
        stamp = answer.header.stamp.sec + 1e-9 * answer.header.stamp.nanosec
        human = answer.humans[0]
        seen["late robot"] = 10 + stamp - start
        seen["late pelvis"] = human.joints[0].x
        seen["late velocity"] = human.joint_velocities[0].x
        seen["told"] = node.output.count("the camera's pose is extrapolated")
    print(json.dumps(seen))
    client.close()
    rclpy.shutdown()


if __name__ == "__main__":
    main(sys.argv[1])
