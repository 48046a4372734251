"""PoseFormer, LSTM_PoseNet and its companions: windows, delays, and one person at a time."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from stdformer_ros.models import create_model
from stdformer_ros.models.lifting.keypoint_network import KeypointNetwork
from stdformer_ros.models.lifting.poseformer import PoseFormer
from stdformer_ros.models.lifting.posenets import (
    LSTMPoseNet,
    SimplePoseNet,
    SimpleTransformerPoseNet,
)

FRAMES = 9
KINDS = [PoseFormer, LSTMPoseNet, SimplePoseNet, SimpleTransformerPoseNet]
every_kind = pytest.mark.parametrize("kind", KINDS)


def network(kind: type[KeypointNetwork], **options: int) -> KeypointNetwork:
    torch.manual_seed(0)
    made = kind(FRAMES, **options)
    if isinstance(made, PoseFormer):  # its positions start at zero
        nn.init.normal_(made.Temporal_pos_embed)
        nn.init.normal_(made.Spatial_pos_embed)
    return made.eval()


def stream(people: int, frames: int) -> Tensor:
    return torch.randn(people, frames, 17, 2, generator=torch.Generator().manual_seed(0))


def streamed(made: KeypointNetwork, keypoints: Tensor) -> Tensor:
    """Encode frame by frame, then decode the newest window."""
    kept = [made.encode(frame)["frames"] for frame in keypoints.unbind(1)]
    return made.decode({"frames": torch.stack(kept[-made.window :], 1)})["pose"]


@every_kind
@pytest.mark.parametrize("delay", [0, 1, FRAMES // 2])
def test_streaming_equals_the_whole_window(kind: type[KeypointNetwork], delay: int) -> None:
    """The answer is for `delay` frames before the newest; the rest of the future repeats it."""
    made, keypoints = network(kind, delay_frames=delay), stream(2, 14)
    centre = 14 - 1 - delay
    indices = range(centre - FRAMES // 2, centre + FRAMES // 2 + 1)
    whole = keypoints[:, [min(i, 13) for i in indices]]
    with torch.inference_mode():
        torch.testing.assert_close(
            streamed(made, keypoints), made(whole)["pose"], rtol=0, atol=1e-5
        )


@every_kind
def test_weights_for_the_newest_frame_need_no_future(kind: type[KeypointNetwork]) -> None:
    made, keypoints = network(kind, future_frames=0), stream(2, FRAMES)
    assert (made.window, made.delay_frames) == (FRAMES, 0)
    with torch.inference_mode():
        torch.testing.assert_close(
            streamed(made, keypoints), made(keypoints)["pose"], rtol=0, atol=1e-5
        )


@every_kind
def test_one_person_never_reaches_another(kind: type[KeypointNetwork]) -> None:
    made, keypoints = network(kind), stream(3, FRAMES)
    with torch.inference_mode():
        alone = made(keypoints[:1])["pose"]
        keypoints[1:] = 100.0
        together = made(keypoints)["pose"]
    torch.testing.assert_close(together[:1], alone, rtol=0, atol=1e-6)


@every_kind
def test_every_frame_and_the_order_matter(kind: type[KeypointNetwork]) -> None:
    made, keypoints = network(kind), stream(1, FRAMES)
    with torch.inference_mode():
        pose = made(keypoints)["pose"]
        assert pose.shape == (1, 1, 17, 3)
        for frame in range(FRAMES):
            changed = keypoints.clone()
            changed[:, frame] += 1.0
            assert (made(changed)["pose"] - pose).abs().max() > 1e-5
        assert (made(keypoints.flip(1))["pose"] - pose).abs().max() > 1e-5


def test_the_transformer_is_the_published_one_for_a_batch_of_one() -> None:
    """Published without `batch_first`: torch takes the first dimension, the person, for time."""
    made = network(SimpleTransformerPoseNet)
    layer = nn.TransformerEncoderLayer(256, nhead=8, dim_feedforward=512)
    published = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False).eval()
    published.load_state_dict(made.transformer_encoder.state_dict())
    keypoints = stream(1, FRAMES)
    with torch.inference_mode():
        x = made.pos_encoder(made.input_linear(keypoints.flatten(2)))
        wanted = made.output_linear(published(x).mean(1)).view(1, 1, 17, 3)
        torch.testing.assert_close(made(keypoints)["pose"], wanted, rtol=0, atol=1e-5)


def test_windows_and_delays_of_the_published_sizes() -> None:
    for frames in (9, 27, 81):
        causal = create_model(f"poseformer_{frames}")
        late = create_model(f"poseformer_{frames}", delay_frames=frames // 2)
        assert (causal.window, causal.delay_frames) == (frames // 2 + 1, 0)
        assert (late.window, late.delay_frames) == (frames, frames // 2)


@pytest.mark.parametrize("options", [{"delay_frames": 5}, {"delay_frames": -1}])
def test_a_delay_beyond_half_the_window_is_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"delay_frames must be 0 to 4, not (5|-1)"):
        PoseFormer(FRAMES, **options)


@pytest.mark.parametrize("shape", [(2, 8, 17, 2), (2, FRAMES, 16, 2), (FRAMES, 17, 2)])
def test_keypoints_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="must be"):
        network(PoseFormer)(torch.zeros(shape))


def test_a_window_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="windows must have 5 frames, not 4"):
        network(PoseFormer).decode({"frames": torch.zeros(1, 4, 544)})
