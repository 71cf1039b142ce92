"""The mean of trainings that differ in their seed alone: one network, a little better than each of them.

    .venv/bin/python benchmarks/average_weights.py runs/people14_0 runs/people14_1 --out runs/people14.pt

Their best weights are averaged (Wortsman et al., "Model soups", arXiv 2203.05482), which works as they start from the
same weights; then the batch norms of what was trained take the statistics of batches of the training again.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from posewright.data import sources
from posewright.evaluate import evaluator
from posewright.predict.predictor import Predictor
from posewright.spec import Spec
from posewright.train.config import TrainConfig, resumed
from posewright.train.distributed import Team
from posewright.train.setup import prepared
from posewright.weights import checkpoint


def averaged(weights: list[Path], config: TrainConfig, batches: int) -> tuple[nn.Module, Spec]:
    """The network of the mean weights, with fresh statistics."""
    with tempfile.TemporaryDirectory() as scratch, prepared(replace(config, out=scratch), Team()) as run:
        states = [checkpoint.read(path) for path in weights]
        mean = {
            key: torch.stack([s[key] for s in states]).mean(0) if value.is_floating_point() else value
            for key, value in states[0].items()
        }
        run.net.load_state_dict(mean)
        run.net.train()
        for module in run.net.modules():
            if isinstance(module, nn.BatchNorm2d):
                if module.weight.requires_grad:
                    module.reset_running_stats()
                    module.momentum = None  # a mean over all batches
                else:
                    module.eval()
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            for batch in itertools.islice(run.loader.epoch(0), batches):
                run.net(batch.images.to(memory_format=torch.channels_last))
        return run.net.eval(), run.spec


def main() -> None:
    """Average, evaluate, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", help="folders of trainings")
    parser.add_argument("--batches", type=int, default=80, help="whose statistics the batch norms take")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    config = resumed(options.runs[0])
    net, spec = averaged([run / "best.pt" for run in options.runs], config, options.batches)
    people = sources.read_all([config.val], [config.val_images])
    metrics = evaluator.evaluate(Predictor(spec, net, device="cpu"), people, people.gt_boxes()).metrics
    said = checkpoint.read_checkpoint(options.runs[0] / "best.pt")
    checkpoint.write_checkpoint(options.out, said | {"model": net.state_dict(), "metrics": metrics})
    print(f"{options.out}: {metrics}")


if __name__ == "__main__":
    main()
