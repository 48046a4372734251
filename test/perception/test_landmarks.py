"""Regions of interest, crops, and BlazePose's landmarks in a real photograph."""

from math import pi

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.paths import DATA
from stdformer_ros.perception.landmarks import (
    CROP,
    MIRROR,
    LandmarkDetector,
    Pose,
    Roi,
    apply_affine,
    cover,
    crop,
    inside,
    mean_pose,
    sigmoid,
)

PHOTO = DATA / "two_people_80.jpg"
NOSE, LEFT_WRIST, RIGHT_WRIST, LEFT_ANKLE, RIGHT_ANKLE = 0, 15, 16, 27, 28
# Measured by hand in the photograph.
MAN = {
    NOSE: (317, 62),
    LEFT_WRIST: (343, 144),
    RIGHT_WRIST: (293, 147),
    LEFT_ANKLE: (327, 216),
    RIGHT_ANKLE: (302, 216),
}
WOMAN = {NOSE: (600, 285), LEFT_ANKLE: (576, 449), RIGHT_ANKLE: (654, 450)}
MAN_BOX = np.array([288, 48, 347, 230], np.float32)
WOMAN_BOX = np.array([551, 263, 674, 463], np.float32)

rois = st.builds(
    Roi,
    x=st.floats(-500, 2500),
    y=st.floats(-500, 2500),
    side=st.floats(2, 4000),
    angle=st.floats(-pi, pi),
)


def inverse(matrix):
    return cv2.invertAffineTransform(matrix.astype(np.float64)).astype(np.float64)


@given(rois, st.lists(st.tuples(st.floats(-50, 300), st.floats(-50, 300)), min_size=1))
def test_to_image_and_its_inverse_give_the_same_point(roi, points):
    points = np.array(points, np.float32)
    back = apply_affine(inverse(roi.to_image()), apply_affine(roi.to_image(), points))
    np.testing.assert_allclose(back, points, atol=0.01 * max(1, CROP / roi.side))


def test_an_upright_region_of_the_crops_size_is_a_pure_shift():
    roi = Roi(x=10 + 127.5, y=20 + 127.5, side=CROP)
    corners = np.array([[0, 0], [255, 255]], np.float32)
    places = apply_affine(roi.to_image(), corners)
    np.testing.assert_allclose(places, [[10, 20], [265, 275]], atol=1e-3)


def test_a_lying_person_is_upright_in_the_crop():
    """The head points to the right in the image and upwards in the crop."""
    roi = Roi.around_person(np.array([100, 100], np.float32), np.array([140, 100], np.float32))
    assert roi.angle == pytest.approx(pi / 2)
    assert roi.side == pytest.approx(1.25 * 80)
    middle, top = (CROP - 1) / 2, (CROP - 1) / 2 - CROP / 2 / 1.25
    head = apply_affine(roi.to_image(), np.array([[middle, top]], np.float32))
    np.testing.assert_allclose(head, [[140, 100]], atol=1e-3)


def test_the_region_around_a_box_is_square_and_wider():
    roi = Roi.around_box(np.array([10, 20, 50, 120], np.float32))
    assert (roi.x, roi.y, roi.side, roi.angle) == (30, 70, 125, 0)


def test_regions_of_a_single_point_have_a_size():
    here = np.array([5, 5], np.float32)
    assert Roi.around_person(here, here).side > 0
    assert Roi.around_box(np.array([5, 5, 5, 5], np.float32)).side > 0


def gradient(height, width):
    """An image whose red is x / 8 and whose green is y / 8."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x // 8, y // 8, np.full_like(x, 7)], axis=2).astype(np.uint8)


@pytest.mark.parametrize("side", [100, 256, 700, 1500])
@pytest.mark.parametrize("angle", [0.0, 0.4, -2.0])
def test_the_crop_shows_what_lies_in_the_region(side, angle):
    """At every scale, also if the image is averaged before it is sampled."""
    roi = Roi(1000.3, 900.7, side, angle)
    picture = crop(gradient(2000, 2000), roi)
    assert picture.shape == (CROP, CROP, 3)
    points = np.array([[30, 40], [200, 60], [128, 128], [90, 220]], np.float32)
    places = apply_affine(roi.to_image(), points)
    for (x, y), place in zip(points.astype(int), places, strict=True):
        np.testing.assert_allclose(picture[y, x, :2], (place - 3.5) / 8, atol=1.01)


def test_averaging_does_not_shift_the_crop():
    """The centre of a disc stays where it was, within a tenth of a crop's pixel."""
    image = np.zeros((2000, 2000, 3), np.uint8)
    roi = Roi(1010.2, 985.6, 1300, 0.3)
    centre = np.array([[900, 1100]], np.float32)
    cv2.circle(image, (900, 1100), 40, (255, 255, 255), -1)
    weight = crop(image, roi)[..., 0].astype(np.float64)
    y, x = np.mgrid[:CROP, :CROP]
    seen = np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()
    expected = apply_affine(inverse(roi.to_image()), centre)[0]
    np.testing.assert_allclose(seen, expected, atol=0.1)


@given(rois)
def test_any_region_gives_a_crop(roi):
    picture = crop(gradient(120, 160), roi)
    assert picture.shape == (CROP, CROP, 3)
    assert picture.dtype == np.uint8


def test_the_crop_is_black_outside_the_image():
    assert crop(np.full((100, 100, 3), 255, np.uint8), Roi(5000, 50, 2000)).max() == 0


def test_inside_counts_whole_border_pixels():
    points = np.array([[-0.5, 0], [-0.6, 0], [9.4, 4.4], [9.5, 0], [0, 4.5]], np.float32)
    np.testing.assert_array_equal(inside(points, (5, 10)), [1, 0, 1, 0, 0])


def test_sigmoid_does_not_overflow():
    with np.errstate(all="raise"):
        values = sigmoid(np.array([-1e4, 0, np.log(3), 1e4], np.float32))
    np.testing.assert_allclose(values, [0, 0.5, 0.75, 1], atol=1e-6)


@pytest.fixture(scope="module", params=["lite", "full"])
def detector(request):
    return LandmarkDetector(request.param)


@pytest.fixture(scope="module")
def photo():
    return cv2.cvtColor(cv2.imread(str(PHOTO)), cv2.COLOR_BGR2RGB)


def refined(detector, image, roi):
    return detector(image, detector(image, roi).roi)


@pytest.mark.parametrize(("box", "truth"), [(MAN_BOX, MAN), (WOMAN_BOX, WOMAN)])
def test_landmarks_agree_with_those_measured_by_hand(detector, photo, box, truth):
    pose = refined(detector, photo, Roi.around_box(box))
    assert pose.score > 0.9
    for landmark, place in truth.items():
        distance = np.linalg.norm(pose.landmarks[landmark] - place)
        assert distance < 0.06 * 200, (landmark, pose.landmarks[landmark])  # of 200 px height
        assert pose.visibility[landmark] > 0.7


def test_a_photograph_upside_down_gives_the_same_landmarks_upside_down(detector, photo):
    """The region is rotated, so that the network sees the same upright person."""
    upright = refined(detector, photo, Roi.around_box(MAN_BOX))
    turned = cv2.rotate(photo, cv2.ROTATE_180)
    height, width = photo.shape[:2]
    roi = Roi(width - 1 - upright.roi.x, height - 1 - upright.roi.y, upright.roi.side, pi)
    pose = detector(turned, roi)
    back = np.array([width - 1, height - 1]) - pose.landmarks
    assert np.linalg.norm(back - upright.landmarks, axis=1).mean() < 0.02 * upright.roi.side
    # landmarks in space are rotated about the camera's optical axis
    np.testing.assert_allclose(pose.world, upright.world * [-1, -1, 1], atol=0.1)


def test_world_landmarks_are_metres_around_the_hips_along_the_camera_axes(detector, photo):
    world = refined(detector, photo, Roi.around_box(MAN_BOX)).world
    np.testing.assert_allclose(world[[23, 24]].mean(axis=0), 0.0, atol=0.02)
    assert world[NOSE, 1] < -0.4, "y points down"
    assert world[[LEFT_ANKLE, RIGHT_ANKLE], 1].min() > 0.6


def test_the_mirrored_crop_gives_nearly_the_same_landmarks(detector, photo):
    roi = refined(detector, photo, Roi.around_box(MAN_BOX)).roi
    pose, mirrored = detector(photo, roi), detector(photo, roi, mirrored=True)
    assert mirrored.score > 0.9
    apart = np.linalg.norm(pose.landmarks - mirrored.landmarks, axis=1)
    assert 0 < apart.mean() < 0.02 * roi.side
    np.testing.assert_allclose(mirrored.world, pose.world, atol=0.12)
    np.testing.assert_allclose(mirrored.visibility, pose.visibility, atol=0.3)
    turned = np.ascontiguousarray(photo[:, ::-1])
    there = Roi(photo.shape[1] - 1 - roi.x, roi.y, roi.side, -roi.angle)
    back = detector(turned, there).landmarks[MIRROR] * [-1, 1] + [photo.shape[1] - 1, 0]
    np.testing.assert_allclose(mirrored.landmarks, back, atol=0.01 * roi.side)


def test_a_covered_person_scores_low_and_a_person_beside_the_cover_as_before(detector, photo):
    roi = refined(detector, photo, Roi.around_box(MAN_BOX)).roi
    pose = detector(photo, roi)
    assert pose.score > 0.95
    # their outline, filled with one colour, remains
    assert detector(photo, roi, covered=[pose.landmarks]).score < 0.7
    far = pose.landmarks + np.array([2 * roi.side, 0], np.float32)
    np.testing.assert_allclose(detector(photo, roi, covered=[far]).landmarks, pose.landmarks)


def test_cover_paints_trunk_limbs_and_head_in_the_crops_mean_colour():
    image = np.random.default_rng(0).integers(0, 256, (CROP, CROP, 3), np.uint8)
    covered = image.copy()
    landmarks = np.full((33, 2), 128.0, np.float32)
    landmarks[[7, 8]] = (128, 30)
    landmarks[[11, 13, 15, 19]] = [(150, 60), (180, 60), (210, 60), (220, 60)]
    landmarks[[12, 14, 16, 20]] = [(106, 60), (76, 60), (46, 60), (36, 60)]
    landmarks[[23, 25, 27, 31]] = [(140, 130), (140, 180), (140, 220), (145, 225)]
    landmarks[[24, 26, 28, 32]] = [(116, 130), (116, 180), (116, 220), (111, 225)]
    cover(covered, landmarks)
    mean = image.mean(axis=(0, 1))
    for x, y in ((128, 95), (128, 30), (180, 60), (46, 60), (140, 200), (116, 200)):
        np.testing.assert_allclose(covered[y, x], mean, atol=1)
    for x, y in ((200, 130), (60, 130), (128, 200), (10, 10)):
        assert (covered[y, x] == image[y, x]).all()


def test_the_mean_of_two_poses_averages_angles_across_half_a_turn():
    zero = np.zeros((33, 3), np.float32)
    a = Pose(1.0, zero[:, :2], zero[:, 0], Roi(10, 20, 100, pi - 0.1), zero)
    b = Pose(0.5, zero[:, :2] + 4, zero[:, 0] + 1, Roi(20, 30, 200, -pi + 0.3), zero + 2)
    mean = mean_pose(a, b)
    assert mean.score == 0.75
    assert (mean.landmarks == 2).all()
    assert (mean.visibility == 0.5).all()
    assert (mean.world == 1).all()
    assert (mean.roi.x, mean.roi.y, mean.roi.side) == (15, 25, 150)
    assert np.cos(mean.roi.angle - (pi + 0.1)) == pytest.approx(1.0)


def test_a_region_without_a_person_scores_low(detector, photo):
    pose = refined(detector, photo, Roi(150, 350, 200))
    assert pose.score < 0.5


def test_landmarks_outside_the_image_have_visibility_0(detector, photo):
    """The image ends at the woman's hips: her ankles are estimated, but not visible."""
    cut = np.ascontiguousarray(photo[:370])
    pose = detector(cut, Roi(612, 365, 280))
    assert np.all(pose.visibility[[LEFT_ANKLE, RIGHT_ANKLE]] == 0)
    assert pose.visibility[NOSE] > 0.7


def test_an_unknown_model_is_refused_by_name():
    with pytest.raises(ValueError, match="'heavy'"):
        LandmarkDetector("heavy")
