"""Lesson 8's settings: every improvement is a switch of a `Recipe`."""

from dataclasses import dataclass, replace

from helpers import SEED, TutorialError
from helpers.augment import affine, random_affine, random_strong
from training.camera import random_camera

SMALL = 32  # pixels
NETWORKS = ("residual", "lesson")
AUGMENTATIONS = {
    "camera": random_camera,
    "strong": random_strong,
    "affine": random_affine,
    "none": lambda images, seed, size=None: affine(images, size=size),
}


@dataclass(frozen=True)
class Recipe:
    """How to train a network. The defaults make the most of twenty minutes on two cores.

    Raises:
        TutorialError: if it asks for what does not exist, or does not fit together.
    """

    epochs: int = 22  # rounds through the training images
    small: int = 11  # how many of them, at the beginning, see images of 32 x 32 pixels
    warm_up: int = 1  # how many of them, at the beginning, see a rising learning rate
    decay: int = 16  # how many of them, at the end, see a falling one; 0 keeps it constant
    network: str = "residual"  # or "lesson": the network of lesson 3
    normalise: bool = True  # subtract the training images' mean, and divide by their std
    batch_size: int = 64  # images per step
    learning_rate: float = 1.5e-3  # of AdamW (Loshchilov and Hutter, 2019), at its highest
    weight_decay: float = 0.05  # of AdamW, and of kernels only
    label_smoothing: float = 0.1  # the part of each label that is spread over all classes
    class_weight: float = 0.0  # the power of the balanced class weights; 0 leaves them out
    augment: str = "affine"  # `random_affine`; or "strong", "camera" or "none"
    mixup: float = 0.0  # alpha of `helpers.augment.mixup`; 0 mixes none
    # How much of the running average of the weights stays at each step. That average is what is
    # scored and kept. 0 takes the weights as they are.
    average: float = 0.998
    # The part of each label that another network's answer replaces (Hinton and others, 2015).
    teacher: float = 0.0
    fast: bool | None = None  # compute in bfloat16; None does so where the processor can
    seed: int = SEED  # of the weights, the order and the augmentation

    def __post_init__(self) -> None:
        for name, choices in (("network", NETWORKS), ("augment", AUGMENTATIONS)):
            if getattr(self, name) not in choices:
                raise TutorialError(
                    f"A recipe's {name} is {getattr(self, name)!r}: set it to one of "
                    f"{', '.join(choices)}."
                )
        if self.epochs < 1 or not 0 <= self.small <= self.epochs:
            raise TutorialError(
                f"A recipe has at least one epoch and at most {self.epochs} small ones, not "
                f"{self.epochs} and {self.small}: change epochs or small."
            )
        if self.network == "lesson" and self.small:
            raise TutorialError(
                "The lesson's network has dense layers and takes 48 x 48 pixels only: set small=0."
            )


# Lesson 4's training, said in the same words: where the road to the recipe begins.
LESSON = Recipe(
    small=0,
    warm_up=0,
    decay=0,
    network="lesson",
    normalise=False,
    learning_rate=3e-4,
    weight_decay=0.0,
    label_smoothing=0.0,
    class_weight=0.5,
    average=0.0,
    fast=False,
)
# The shipped network's: what makes learning by heart harder pays in a training this long.
SHIPPED = Recipe(
    epochs=114,
    small=62,
    warm_up=2,
    decay=36,
    batch_size=96,
    class_weight=0.5,
    augment="strong",
    mixup=0.2,
    average=0.9985,
    teacher=0.5,
)
# The network for photographs: the shipped one goes on, with ten people's votes for a teacher.
VOTES = replace(
    SHIPPED,
    epochs=22,
    small=12,
    warm_up=1,
    decay=21,
    batch_size=128,
    learning_rate=8e-4,
    label_smoothing=0.0,
    augment="camera",
    teacher=1.0,
)
