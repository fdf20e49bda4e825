"""The trainer: what lets a training of an hour be interrupted, go on, and be told from others.

It imports helpers/ alone. Its modules, each from those above it:

batches              images, targets and weights on their way into the network
checkpoint           what is kept after every epoch, and how a training goes on from there
live_curves          curves that are drawn meanwhile
trainer              lesson 4's training in one call, and the network saved with all that it is
fused_normalisation  batch normalisation that trains faster
camera               what cameras do to a face, as an augmentation
recipe               lesson 8's settings
train_by_recipe      lesson 8's training
runs                 files of what was trained, and the log
features             what a network makes of images, computed once
choose_model         which network to score, or to ask about a photograph
"""
