"""Gets what a lesson needs: the images, or toy faces in their place, and borrowed weights.

sources    finds the images, unpacks or downloads them
loading    reads them into memory
toy_faces  draws faces where there are no photographs
votes      looks up what ten people said of each picture of FER-2013
imagenet   gets the weights of a network that has learnt from ImageNet
"""

from fetch.loading import load, load_dataset

__all__ = ["load", "load_dataset"]
