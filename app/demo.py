"""All of the tool in one box."""

from __future__ import annotations

from collections.abc import Sequence

import ipywidgets

from app.networks import Networks
from app.photographs import Samples, photographs
from app.teach import Teacher
from app.webcam import Webcam
from helpers import faces
from training import choose_model

PURPOSE = (
    "For your own face or those of volunteers, never to judge people: a face shows an "
    "expression, not a feeling. Not for use on pupils or staff, which is prohibited in the EU "
    "(AI Act, Article 5(1)(f))."
)


def demo(
    samples: Samples | None = None, models: Sequence[choose_model.ModelFile] | None = None
) -> ipywidgets.VBox:
    """Classify photographs, the webcam, and what you teach it, in three tabs.

    Args:
        samples: pictures to choose from, by name; by default the two portraits.
        models: networks to choose from; by default all that fit photographs, the best first.
    """
    networks = Networks(choose_model.model_for_photographs() if models is None else models)
    samples = faces.portraits() if samples is None else samples
    webcam = Webcam(networks)  # in two tabs, with one camera
    teach = ipywidgets.VBox([webcam, Teacher(webcam)]).add_class("emotion-teach")
    tabs = [photographs(networks, samples), webcam, teach]
    tabs = ipywidgets.Tab(tabs, titles=("Photographs", "Webcam", "Teach it"))
    purpose = ipywidgets.HTML(f'<p style="line-height:1.3; font-size:90%">{PURPOSE}</p>')
    return ipywidgets.VBox([networks.chooser, tabs, purpose]).add_class("emotion-panel")
