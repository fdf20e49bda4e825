"""Gets what a lesson needs: the images, or toy faces in their place, and borrowed weights.

tables       reads FER-2013 as a table
archives     unpacks a zip, a tar or a table into a folder of pictures
folders      finds splits and classes in such a folder
staging      makes a folder all at once, or not at all
kaggle       downloads FER-2013
toy_drawing  draws a face from its action units
toy_faces    makes a data set of such faces, where there are no photographs
sources      decides which of all these are taken
loading      reads the images into memory
votes        looks up what ten people said of each picture of FER-2013
imagenet     gets the weights of a network that has learnt from ImageNet
"""

from fetch.loading import load, load_dataset

__all__ = ["load", "load_dataset"]
