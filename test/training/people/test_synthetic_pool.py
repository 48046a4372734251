"""Posed motion is kept, filmed several times, and replaced."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from stdformer_ros.training.people.posed_motion import PosedMotion
from stdformer_ros.training.people.synthetic import BATCHES, REUSE, PosePool


class Numbered:
    """Makes sequences whose tensors are all filled with their serial number."""

    def __init__(self) -> None:
        self.made: list[int] = []

    def __call__(self, count: int) -> PosedMotion:
        number = float(sum(self.made)) + torch.arange(count, dtype=torch.float32)
        self.made.append(count)
        return PosedMotion(
            number.view(-1, 1, 1, 1).expand(-1, 4, 21, 3).clone(),
            number.view(-1, 1, 1, 1, 1).expand(-1, 2, 24, 3, 3).clone(),
            number.view(-1, 1, 1).expand(-1, 2, 3).clone(),
            number.view(-1, 1).expand(-1, 10).clone(),
        )


def numbers(motion: PosedMotion) -> list[int]:
    return [int(number) for number in motion.betas[:, 0]]


def test_the_pool_starts_with_the_documented_number_of_batches() -> None:
    pose = Numbered()
    PosePool(pose, 12)
    assert pose.made == [12] * BATCHES


def test_a_drawn_batch_holds_different_sequences_of_the_pool() -> None:
    torch.manual_seed(0)
    pool = PosePool(Numbered(), 12)
    drawn = [numbers(pool.draw()) for _ in range(20)]
    assert all(len(set(batch)) == 12 for batch in drawn)
    assert drawn[0] != sorted(drawn[0]), "the order is random"


def test_tensors_of_one_sequence_stay_together() -> None:
    torch.manual_seed(0)
    pool = PosePool(Numbered(), 12)
    for _ in range(10):
        motion = pool.draw()
        assert motion.landmarks.shape == (12, 4, 21, 3)
        assert motion.rotations.shape == (12, 2, 24, 3, 3)
        assert motion.pelvis.shape == (12, 2, 3)
        for tensor in motion:
            rows = tensor.flatten(1)
            assert (rows == motion.betas[:, :1]).all()


def test_each_draw_replaces_the_oldest_by_a_sixth_of_a_batch() -> None:
    torch.manual_seed(0)
    count = 12
    fresh, size = count // REUSE, BATCHES * count
    pose = Numbered()
    pool = PosePool(pose, count)
    for draw in range(1, 3 * size // fresh):
        drawn = numbers(pool.draw())
        assert min(drawn) >= draw * fresh, "the oldest are replaced"
        assert max(drawn) < size + draw * fresh
    assert set(pose.made[BATCHES:]) == {fresh}


def test_every_sequence_of_the_pool_is_drawn() -> None:
    torch.manual_seed(0)
    pool = PosePool(Numbered(), 6)
    seen = Counter(number for _ in range(600) for number in numbers(pool.draw()))
    missed = set(range(6 * BATCHES, 500)) - set(seen)
    # The probability that a sequence is never drawn is e^-REUSE, 0.25 %.
    assert len(missed) < 8


@pytest.mark.parametrize("count", [6, 60])
def test_a_sequence_is_filmed_six_times_on_average(count: int) -> None:
    torch.manual_seed(0)
    pool = PosePool(Numbered(), count)
    fresh, size = count // REUSE, BATCHES * count
    draws = 6 * size // fresh
    seen = Counter(number for _ in range(draws) for number in numbers(pool.draw()))
    lived = range(size, (draws - size // fresh) * fresh)  # added and replaced during the test
    mean = sum(seen[number] for number in lived) / len(lived)
    assert mean == pytest.approx(REUSE, rel=0.03)


def test_drawn_batches_do_not_share_memory_with_the_pool() -> None:
    torch.manual_seed(0)
    pool = PosePool(Numbered(), 12)
    for tensor in pool.draw():
        tensor.fill_(-1.0)
    assert all(min(numbers(pool.draw())) >= 0 for _ in range(20))


def test_small_batches_get_at_least_one_new_sequence() -> None:
    pose = Numbered()
    pool = PosePool(pose, 2)
    for _ in range(5):
        assert len(pool.draw().betas) == 2
    assert pose.made == [2] * BATCHES + [1] * 5
