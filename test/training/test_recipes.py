"""The recipes are the published ones."""

from __future__ import annotations

import pytest

from stdformer_ros.models.lifting.weights import SHIPPED as SHIPPED_WEIGHTS
from stdformer_ros.models.registry import MODELS
from stdformer_ros.training.recipes import PUBLISHED, SHIPPED, recipe_of


def test_every_recipe_is_for_an_existing_model() -> None:
    assert set(PUBLISHED) | set(SHIPPED) <= set(MODELS)
    assert set(SHIPPED) == set(SHIPPED_WEIGHTS)


def test_poseformers_learning_rate_falls_by_a_hundredth_per_epoch() -> None:
    schedule = PUBLISHED["poseformer_81"].schedule
    epoch = schedule.steps / 200
    assert schedule.rate(0) == pytest.approx(1e-4)
    assert schedule.rate(round(epoch)) == pytest.approx(0.99e-4)
    assert schedule.rate(round(100 * epoch)) == pytest.approx(1e-4 * 0.99**100, rel=1e-4)
    assert schedule.sequences == 512
    assert schedule.weight_decay == 0.1


def test_the_posenets_are_trained_for_fifteen_epochs() -> None:
    for name in ("lstm_posenet_81", "simple_posenet_81", "simple_transformer_posenet_81"):
        schedule = PUBLISHED[name].schedule
        assert schedule.steps == 15 * 6093
        assert schedule.rate(0) == pytest.approx(1e-3)
        assert schedule.rate(schedule.steps) == pytest.approx(1e-3 * 0.99**15)


def test_stdformer_has_a_constant_rate_and_clips_gradients() -> None:
    schedule = PUBLISHED["stdformer_L"].schedule
    assert schedule.rate(0) == schedule.rate(schedule.steps) == 1e-4
    assert schedule.weight_decay == 1e-4
    assert schedule.gradient_clip == 0.3


def test_shipped_networks_answer_for_the_newest_frame() -> None:
    assert all(recipe.options["future_frames"] == 0 for recipe in SHIPPED.values())


def test_a_model_without_the_requested_recipe_is_reported() -> None:
    with pytest.raises(ValueError, match="no shipped recipe for 'simple_posenet_81'"):
        recipe_of("simple_posenet_81", "shipped")
