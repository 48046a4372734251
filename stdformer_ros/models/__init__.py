"""The networks that estimate bodies: the default one and the published systems."""

from stdformer_ros.models.checkpoint import CheckpointError, CheckpointReport, load_checkpoint
from stdformer_ros.models.registry import MODELS, create_model

__all__ = ["MODELS", "CheckpointError", "CheckpointReport", "create_model", "load_checkpoint"]
