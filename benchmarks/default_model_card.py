"""What the default model's card says, and where `default_model.py` puts its measurements."""

from __future__ import annotations

CARD = """# The default model

`posewright predict photo.jpg` and `pw.load()` use these weights, which are part of the package: {megabytes:.1f} MB of
float16. They find 14 points of a person: ankles, knees, hips, wrists, elbows, shoulders, neck and top of the head.

* **System**: `{spec}`, SimpleBaseline's deconvolutions on an EfficientNet-Lite0: {million:.2f} million parameters,
  {gmacs:.3f} GMACs per person without the flip test, Gaussian heatmaps with UDP's coordinates.
* **Data**: Leeds Sports Pose Extended, 8,500 photographs to train on, and 500 to choose the epoch and the padding of
  boxes by and to measure on, so the numbers are a little too good: Johnson & Everingham, "Learning Effective Human Pose
  Estimation from Inaccurate Annotation", CVPR 2011. Everyday people without labels, 7,926 of Stanford 40 Actions (Yao
  et al., "Human Action Recognition by Learning Bases of Action Attributes and Parts", ICCV 2011) and 1,739 in the
  street (Clothing Co-Parsing: Yang, Luo & Lin, CVPR 2014). **These photographs are for research**: take the weights
  for research, too. The trunk started from EfficientNet-Lite0's ImageNet weights, and everyday people were labelled
  with the help of BlazePose and of EfficientPose, which learned from MPII (the weights of all three: Apache-2.0).
* **Recipe**: five parts, each from the best weights of the one before (`posewright recipes show people14` prints
  all settings): `people14_160` from ImageNet's trunk (`posewright weights pull imagenet_efficientnet_lite0`),
  `people14_192`, `people14_drawn`, which learns from cleaned labels and, for a fifth of the people, from drawn ones,
  `people14_street`, which learns from everyday people, too, and `people14`, from more and better labels of them; these
  two twice, of which the mean was taken.
  It took {hours}
  on one core of an AMD EPYC, with `--set precision=bf16`, and no GPU.

```
posewright train people14_160 --train data/lspet/train.json --val data/lspet/val.json --out runs/people14_160
posewright train people14_192 --train data/lspet/train.json --val data/lspet/val.json --out runs/people14_192
.venv/bin/python benchmarks/clean_labels.py data/lspet/train.json --weights runs/people14_192/best.pt \\
    --out data/lspet/train_clean.json
posewright data synth data/everyday --everyday --images 1000
posewright train people14_drawn --val data/lspet/val.json --out runs/people14_drawn
.venv/bin/python benchmarks/clean_labels.py data/lspet/train.json --weights runs/people14_drawn/best.pt \\
    --out data/lspet/train_clean2.json
posewright train people14_street --val data/lspet/val.json --out runs/people14_street_0
posewright train people14_street --val data/lspet/val.json --out runs/people14_street_1 --set seed=1
.venv/bin/python benchmarks/average_weights.py runs/people14_street_0 runs/people14_street_1 \\
    --out runs/people14_street.pt
.venv/bin/python benchmarks/label_people.py --help
posewright train people14 --val data/lspet/val.json --out runs/people14_0
posewright train people14 --val data/lspet/val.json --out runs/people14_1 --set seed=1
.venv/bin/python benchmarks/average_weights.py runs/people14_0 runs/people14_1 --out runs/people14.pt
```

![The network: an EfficientNet-Lite0 down, three deconvolutions up](drawings/litebaseline.svg)

## Numbers

PCK@0.2: the share of points that lie within 0.2 of the torso's length, from right shoulder to left hip, of where they
were annotated; the mean of the 14 points. {lspet}

| | PCK@0.2 | PCK@0.1 | ms, one at a time | ms, in batches |
|---|---:|---:|---:|---:|
{rows}

Milliseconds are per person, from the decoded image to keypoints, on {threads} threads, in float32: the median of
{turns} calls of one person at a time, and that of {many} people in batches of 32. `--no-flip-test`
switches the flip test off.

{other}

| point | {heads} |
|---|{rule}
{points}

![PCK over the threshold, with the flip test and annotated boxes](pictures/default-pck.svg)

How a point's score goes with being right, on LSPET with annotated boxes:

| score | points | right at 0.2 |
|---|---:|---:|
{calibration}

{threshold}

{calibrated}

{labels}

{beside}## What was tried

{tried}

## Where it fails

{failures}

`posewright eval --data data/lspet/val.json --contact-sheets` draws contact sheets of the worst, random and best cases.

Written by `benchmarks/default_model.py`:
{provenance}
"""

BESIDE = """## Beside MediaPipe

MediaPipe's pose models (0.10.14) on the same people, each in a square around the annotated box, in which they
search for a person themselves; PCK@0.2 of the {points} points that both have. "heavy" helped to label what the default
model learned from.

| people | with a torso | {models} | default model |
|---|---:|{rule}---:|
{rows}

By `benchmarks/mediapipe_pose.py`.

"""

TRIED = """PCK on LSPET's 500, with the flip test; each change by itself:

| | PCK@0.2 | PCK@0.1 | cost |
|---|---:|---:|---|
| trained and run at 160x160, boxes not padded | 0.708 | 0.450 | 0.25 GMACs |
| the same weights run at 192x192 | 0.691 | 0.454 | 0.36 GMACs |
| the same, boxes padded to the same size of people (1.15) | 0.695 | 0.446 | |
| second part at 192x192, larger, turned further, hidden more | 0.724 | 0.482 | 0.36 GMACs, 2¼ hours |
| the same, boxes padded as in training (1.1) | 0.716 | 0.472 | |
| the same weights run at 160x160 | 0.706 | 0.432 | 0.25 GMACs |
| third part, with what follows together | 0.727 | 0.479 | 1¼ hours |
| fourth part, with everyday people, one seed and another | 0.717, 0.719 | 0.463, 0.463 | 55 minutes each |
| the mean of both seeds, some statistics fresh | 0.724 | 0.470 | |
| fifth part, with better labels, one seed and another | 0.722, 0.723 | 0.471, 0.472 | 57 minutes each |
| the mean of both seeds, statistics fresh: these weights | 0.727 | 0.476 | |

The third part: 683 pairs of labels swapped and 1,612 of 104,743 points left out; drawn people, a fifth of all; more
half bodies, hidden and cut out more; points without a label learned as empty. It gives next to nothing on LSPET, whose
500 are like those that the second part learned from, and much elsewhere: on 150 drawn images of other people 0.475
became 0.737, and on COCO, which was looked at once, at the end, 0.514 became 0.579. Of points without a label 38 % are
drawn where 56 % were. Of its 7 evaluations the last five are within 0.003, so more of the same gives no more. On people
that it was trained on the second part had 0.815: what is missing is photographs more than size.

Each part of the third by itself, in 640 steps from the second part's weights (a seventh of its length, 12 minutes of
one core), one seed; of points with and without a label, the share above the threshold that `predict` draws at:

| | PCK@0.2 | PCK@0.1 | drawn people, PCK@0.2 | labelled | unlabelled |
|---|---:|---:|---:|---:|---:|
| the second part's weights | 0.724 | 0.482 | 0.475 | 86 % | 56 % |
| as the second part | 0.719 | 0.474 | 0.474 | 86 % | 54 % |
| cleaned labels | 0.726 | 0.480 | 0.475 | 86 % | 56 % |
| drawn people, a fifth of all | 0.722 | 0.475 | 0.659 | 86 % | 54 % |
| points without a label learned as empty | 0.720 | 0.477 | 0.475 | 81 % | 40 % |
| more half bodies, hidden and cut out more | 0.715 | 0.475 | 0.465 | 85 % | 53 % |

Cleaned labels are worth 0.007 on LSPET beside as many steps without; drawn people alone make drawn people better, and
empty maps alone make hidden points' scores lower. The harder augmentation gains nothing by itself in so few steps.

The fourth part learns from 8,065 everyday people in photographs that have no labels: 69,012 points on which BlazePose's
heavy network agrees with itself, mirrored, and the third part's weights do not contradict with confidence
(`benchmarks/label_people.py` of commit d104b0a; on sheets of 54 of them few points are wrong). A point without a label
in these files is left out of the loss, as it may be seen (`file_partial`). No photograph, here and in what follows, is
one of those that are measured on: reduced images were compared, and the nearest looked at. What it gives is for
everyday people, and costs LSPET 0.003:

| | LSPET | drawn people | left out of the labels | COCO |
|---|---:|---:|---:|---:|
| the third part's weights | 0.728 | 0.750 | 0.275 | 0.579 |
| fourth part, one seed and another | 0.715, 0.719 | 0.755, 0.766 | 0.463, 0.463 | |
| the mean of both seeds | 0.724 | 0.757 | 0.467 | |
| the same, statistics of blocks 3 to 9 and of the head fresh | 0.724 | | 0.469 | 0.647 |
| these with 15 % of the third part's | 0.727 | | 0.453 | |
| these with 30 % of the third part's, statistics as they were | 0.729 | 0.759 | 0.433 | |
| fifth part, one seed and another | 0.722, 0.723 | | 0.527, 0.528 | |
| the mean of both seeds | 0.727 | 0.778 | 0.531 | |
| the same, statistics fresh: these weights | 0.727 | 0.773 | 0.532 | 0.681 |
| these with 15 % of the weights before | 0.728 | | 0.527 | |

PCK@0.2, in bf16 but for COCO. With fresh statistics in blocks 10 to 15, too, LSPET has 0.720 (float32). "Left out of
the labels" are 600 people of Stanford 40 whom the teachers labelled too few points of, hard ones that are cut off or
turned away, beside what YOLO's pose network says of them in a public repository: not the truth, but something that
took no part.

The fifth part starts from these and learns from 9,665 people and 88,552 points. EfficientPose II was asked, too, which
learned from MPII and finds some of those whom BlazePose does not; a point is kept where both say the same and either is
sure, or where EfficientPose is sure and BlazePose does not contradict (`benchmarks/label_people.py`). Beside YOLO's
points, 94.7 % of those of people who had labels before lie within 0.2 torsos, and 84.9 % of those of 994 new and harder
people (of the first labels 93.9 %; YOLO guesses hidden points, too, so it is not always right itself).
1,334 of the people are others in Stanford 40's photographs, labelled by EfficientPose alone.
The tops of heads are left out: MPII has them 0.15 torsos higher than LSPET. The 600 people above stay left out.

COCO was looked at once for each part, at the end, after the weights had been chosen.

Not tried: a larger network of our own as a teacher, more photographs."""

FAILURES = """Seen on the sheets of worst and random cases:

* people upside down, tucked up or seen from behind: left and right are swapped, of hips and knees most of all;
* limbs that cross or hide each other: both are found on the one that is seen;
* boxes that hold a hand or a face alone: a body is seen in them, mostly with low scores;
* people behind tables, and crouching ones: legs are uncertain and often left out;
* neighbours within the box, whose limbs may be taken for the person's;
* people who are small in the image, without a detector."""


LABELS = """LSPET was labelled by many hands, some of which mistook left for right or a knee for an ankle. Of the
4,775 points that are measured, `benchmarks/clean_labels.py`, with the weights before these, contradicts 348, on 128
people. Of these people 24 were looked at: on 7 the label is plainly wrong, on 6 the network is, and of the others, who
are turned, tucked up or seen from behind, one cannot tell. So the labels are a part of what is missing, and a small
one."""
