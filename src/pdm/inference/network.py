"""The Torch model: one shared trunk, one head a failure mode; and its file, weights beside a manifest."""

import hashlib
import io
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from pdm.errors import Misconfigured
from pdm.events import FailureType
from pdm.inference.features import NAMES

MODES: tuple[FailureType, ...] = ("Overstrain", "HeatDissipation", "Power")


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a model file says of itself. Loading fails on any mismatch with this code."""

    version: str
    features: list[str]
    modes: list[str]
    created_at: str
    rows: int
    positives: dict[str, int]
    data_sha256: str
    validation_log_loss: float
    validation_brier: float
    code_version: str


class FailureNet(nn.Module):
    """Logits of shape (n, len(MODES)) from features of shape (n, len(NAMES))."""

    def __init__(self, hidden: int = 32) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(len(NAMES), hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU())
        self.heads = nn.Linear(hidden, len(MODES))

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.heads(self.trunk(inputs))
        return logits


def dump(net: FailureNet, manifest: Manifest) -> bytes:
    """The bytes of a `*.pth`: a dictionary that `torch.load(weights_only=True)` opens."""
    buffer = io.BytesIO()
    torch.save({"manifest": msgspec.to_builtins(manifest), "state_dict": net.state_dict()}, buffer)
    return buffer.getvalue()


def load(content: bytes) -> tuple[FailureNet, Manifest]:
    """Raises Misconfigured when the file is damaged, was made for other features, or holds anything but weights."""
    try:
        stored: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        manifest = msgspec.convert(stored["manifest"], Manifest)
        if (tuple(manifest.features), tuple(manifest.modes)) != (NAMES, MODES):
            raise Misconfigured("the model was made for other features or modes", hint="Train a new one.")
        net = FailureNet()
        net.load_state_dict(stored["state_dict"])
    except Misconfigured:
        raise
    except Exception as error:  # torch raises many kinds on a damaged or hostile file
        raise Misconfigured(f"the model file cannot be used: {str(error)[:200]}", hint="Train a new one.") from error
    if not all(bool(torch.isfinite(weight).all()) for weight in net.state_dict().values()):
        raise Misconfigured("the model holds weights that are not finite", hint="Train a new one.")
    return net.eval(), manifest


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
