"""`posewright calibrate`: scores become probabilities, by results on a validation set."""

from __future__ import annotations

import argparse
from pathlib import Path

from posewright.cli._options import Commands, answer, command, existing


def add(commands: Commands) -> None:
    about = "fit scores to the probability that a pose is right (OKS above 0.5), and store that beside the weights"
    parser = command(commands, "calibrate", run, about)
    parser.add_argument(
        "results", metavar="FOLDER|JSON", type=existing, help="results on a validation set, as `eval` writes them"
    )
    parser.add_argument(
        "--data", default="", metavar="JSON", type=existing, help="the annotations, where the folder does not say it"
    )
    parser.add_argument(
        "--weights", metavar="FILE", type=existing, help="whose scores these are: `predict` then adds the probability"
    )


def run(options: argparse.Namespace) -> int:
    import msgspec

    from posewright.coco_format import read_results
    from posewright.evaluate import calibration
    from posewright.evaluate.comparison import Contender, same_grounds
    from posewright.evaluate.diagnosis import diagnose
    from posewright.files import write_json
    from posewright.predict import calibrated

    contender = Contender.of(options.results)
    annotations = same_grounds([contender], options.data)
    entries = map(msgspec.to_builtins, read_results(contender.results))
    results = [{name: value for name, value in entry.items() if value is not None} for entry in entries]
    fitted = calibration.fit(*calibration.outcomes(diagnose(annotations, results), results))
    place = calibrated.place_of(options.weights or contender.results)
    calibrated.write(place, fitted)
    applied = contender.results.with_name(f"{contender.results.stem}.calibrated.json")
    write_json(applied, fitted.applied(results))
    lines = [
        f"fitted to {fitted.poses} poses of {Path(annotations).name}",
        f"calibration error: {fitted.before:.3f} before, {fitted.after:.3f} after (on images not fitted to)",
        f"calibration: {place}, results with both scores: {applied}",
    ]
    errors = {"before": fitted.before, "after": fitted.after}
    answer(options, "\n".join(lines), poses=fitted.poses, error=errors, calibration=place, results=applied)
    return 0
