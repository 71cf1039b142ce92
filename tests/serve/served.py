"""A real server process over the tiny network, which waits for a file to appear: `python served.py FILE`."""

import sys
import time
from pathlib import Path

from conftest import SPEC, brightness
from posewright.predict.predictor import Predictor
from posewright.serve import server
from posewright.serve.service import Service


def held(images):
    while not Path(sys.argv[1]).exists():
        time.sleep(0.01)
    return brightness(images)


listener = server.listen("127.0.0.1", 0)
print(server.address(listener), flush=True)
server.run(Service({"dots": Predictor(SPEC, held, flip=False, batch=2)}), listener)
