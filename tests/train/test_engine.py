"""A model on one device: its first weights, and the way back to them."""

from __future__ import annotations

from pathlib import Path

import torch

from ablate.model.build import build
from ablate.train.engine import Engine
from tests.train.family import batch, recipe


def test_the_first_weights_are_made_once_and_again_only_when_something_was_updated(tmp_path: Path) -> None:
    """They are read from a folder in which others lie a moment later: so it shows when they are made."""
    plain = recipe()
    start, away = tmp_path / "start", tmp_path / "away"
    for folder, seed in ((start, 3), (tmp_path / "other", 4)):
        build(plain["model"], seed).save_pretrained(folder)
    engine = Engine({**plain, "model": {**plain["model"], "weights": "a folder's"}, "weights": str(start)}, torch.device("cpu"), False)

    def weights() -> torch.Tensor:
        return torch.cat([p.detach().flatten() for p in engine.model.parameters()])

    first = weights()
    start.rename(away)
    (tmp_path / "other").rename(start)
    engine.prepare()
    engine.restore({})
    assert torch.equal(weights(), first), "nothing was updated, and nothing is read"
    loss, _ = engine.step(batch(0, 4), 1.0)
    assert not torch.equal(weights(), first)
    engine.restore({})
    others = torch.cat([p.detach().flatten() for p in build(plain["model"], 4).parameters()])
    assert torch.equal(weights(), others), "they are read again, and are those that lie there now"
    start.rename(tmp_path / "other")
    away.rename(start)
    engine.step(batch(0, 4), 1.0)
    engine.restore({})
    assert torch.equal(weights(), first)
    assert torch.equal(engine.step(batch(0, 4), 1.0)[0], loss)
