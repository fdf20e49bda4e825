"""Get the images ready before the lessons open: python -m fetch."""

import sys

from fetch import load_dataset
from helpers import TutorialError

try:
    load_dataset(download=True)
except TutorialError as error:
    sys.exit(str(error))
