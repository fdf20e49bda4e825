"""The tool: names apparent expressions in photographs and before the webcam, and can be taught.

Each module imports only from those above it:

classifier   a network with weights rounded to 8 bits, which needs no TensorFlow
networks     the list of networks to choose from
answers      what a picture's faces look like, as the browser draws it
photographs  pictures chosen, dropped or pasted, and samples
webcam       faces before the camera, live
teach        expressions or gestures of your own
demo         all of it in three tabs: what demo.ipynb shows, and serve.py serves
"""
