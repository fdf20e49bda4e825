"""Answers to exercises: wrong in a usual way, beside what the check says; and right in other ways.

The mistakes that a check lists itself are not repeated here.
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops


def augmentation(
    flip="horizontal", turn=20 / 360, height=0.1, width=0.05, fill="nearest", order=slice(None)
):
    made = [
        layers.RandomFlip(flip),
        layers.RandomRotation(turn, fill_mode=fill),
        layers.RandomTranslation(height, width, fill_mode=fill),
    ]
    return keras.Sequential(made[order])


def light(draw, used=False, top=1):
    """Return a layer like RandomLight, with something changed."""

    class RandomLight(layers.Layer):
        def call(self, images, training=False):
            if training or used:
                return ops.clip(images * draw(images), 0, top)
            return images

    return RandomLight


def own(images, low=0.6, high=1.4):
    return keras.random.uniform((len(images), 1, 1, 1), low, high)


def block(padding="same", bias=False, pool=True, relu=layers.ReLU, drop=True, twice=2, kernel=3):
    """Return the function of lesson 3, with something changed."""

    def build(filters, rate):
        made = []
        for _ in range(twice):
            made += [layers.Conv2D(filters, kernel, padding=padding, use_bias=bias)]
            made += [layers.BatchNormalization(), relu()]
        made += [layers.MaxPooling2D()] * pool + [layers.Dropout(rate)] * drop
        return keras.Sequential(made)

    return build


def small_network(last="softmax", rate=0.001, compiled=True):
    def build():
        convolution = layers.Conv2D(8, 3, padding="same", activation="relu")
        rest = [layers.MaxPooling2D(4), layers.Flatten(), layers.Dense(7, last)]
        network = keras.Sequential([keras.Input((48, 48, 1)), convolution, *rest])
        if compiled:
            network.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
        return network

    return build


def watchers(monitor="val_loss", factor=0.5, times=(1, 2), back=True):
    def build(patience):
        first, second = (n * patience for n in times)
        return [
            keras.callbacks.ReduceLROnPlateau(monitor, factor=factor, patience=first),
            keras.callbacks.EarlyStopping(monitor, patience=second, restore_best_weights=back),
        ]

    return build


def plateau(forgets="nothing", strict=True, late=0, watched="val_loss"):
    """Return the function of lesson 4, with something changed."""

    def build(factor, patience):
        class Plateau(keras.callbacks.Callback):
            lowest, waited = np.inf, 0

            def on_epoch_end(self, epoch, logs=None):
                loss, optimizer = logs[watched], self.model.optimizer
                lower = loss < self.lowest or (loss == self.lowest and not strict)
                self.waited = 0 if lower else self.waited + 1
                self.lowest = loss if forgets == "the lowest" else min(self.lowest, loss)
                if self.waited >= patience + late:
                    optimizer.learning_rate = factor * float(optimizer.learning_rate)
                    self.waited = self.waited if forgets == "to begin anew" else 0
                    self.lowest = np.inf if forgets == "all" else self.lowest

        return Plateau()

    return build


def ends(low=2.5, high=97.5, draw=1.0, replace=True):
    """Return a bootstrap between two percentiles that draws so many times the faces there are."""

    def interval(right, rounds):
        rng, n = np.random.default_rng(1), int(draw * len(right))
        scores = [rng.choice(right, n, replace=replace).mean() for _ in range(rounds)]
        return np.percentile(scores, [low, high])

    return interval


def by_formula(right, rounds):
    share, spread = right.mean(), 1.96 * np.sqrt(right.mean() * (1 - right.mean()) / len(right))
    return share - spread, share + spread


def metric(mode="recall", keeps="sums", forgets=True):
    """Return a metric like MacroRecall, with something changed."""

    class MacroRecall(keras.metrics.Metric):
        def __init__(self, classes):
            super().__init__()
            self.classes, self.batches = classes, []

        def update_state(self, labels, probabilities, sample_weight=None):
            answers = probabilities.argmax(axis=1)
            classes = answers if mode == "precision" else labels
            one = list(zip(classes, labels == answers, strict=True))
            self.batches = [one] if keeps == "the last" else [*self.batches, one]

        def score(self, seen):
            found = [[right for k, right in seen if k == c] for c in {k for k, _ in seen}]
            return np.mean([np.mean(each) for each in found])

        def result(self):
            seen = [face for batch in self.batches for face in batch]
            if mode == "accuracy":
                return np.mean([right for _, right in seen])
            if mode == "mean of means":
                return np.mean([self.score(batch) for batch in self.batches])
            return self.score(seen) * {"percent": 100, "nothing": 0}.get(mode, 1)

        def reset_state(self):
            self.batches = [] if forgets else self.batches

    return MacroRecall


def evaluation(scale=255.0, training=False, order=np.asarray):
    def accuracy(network, images, labels):
        p = np.asarray(network(images[..., None] / np.float32(scale), training=training))
        return np.mean(order(p.argmax(axis=1)) == order(labels))

    return accuracy


def around(change, build=lambda network: network, shape=(48, 48), dtype="uint8"):
    """Return a function that puts something around a network."""

    def wrap(network):
        inputs = keras.Input(shape, dtype=dtype)
        return keras.Model(inputs, change(inputs, build(network)))

    return wrap


def copied(network):
    made = keras.models.clone_model(network)
    made.name = "copied"
    return made


def unwatched(network, pictures, k):
    pictures = tf.constant(pictures)
    with tf.GradientTape() as tape:
        probability = network(pictures)[:, k]
    return tape.gradient(probability, pictures).numpy()


def scaled(pixels, factor=1 / 255, offset=0.0, axis=(48, 48, 1)):
    return layers.Reshape(axis)(layers.Rescaling(factor, offset)(pixels))


def asked_twice(change, build=lambda network: network):
    return around(change, build, (48, 48, 1), "float32")


def mean(*answers):
    return layers.Average()(answers)


def gradient(score, after=lambda found: found):
    """Return the gradient of some score of the answers, by the pixels."""

    def answer(network, pictures, k):
        pixels = tf.Variable(pictures)
        with tf.GradientTape() as tape:
            of = score(network(pixels), k)
        return after(tape.gradient(of, pixels).numpy())

    return answer


def activation(weigh, after=lambda found: found):
    def answer(network, pictures, k):
        maps = keras.Model(network.inputs, network.layers[-3].output)(pictures)
        return after(weigh(np.asarray(maps), *network.layers[-1].get_weights(), k))

    return answer


def separable(usual=False, bias=False, adds=True, shortcut=None, relu="last", pad="same"):
    """Return the block of lesson 8, with something changed."""

    def build(x, filters):
        kind = layers.Conv2D if usual else layers.SeparableConv2D
        y = kind(filters, 3, padding=pad, use_bias=bias)(x)
        y = layers.BatchNormalization()(y)
        convolve = x.shape[-1] != filters if shortcut is None else shortcut
        x = layers.Conv2D(filters, 1, use_bias=False)(x) if convolve else x
        if relu == "first":
            return layers.Add()([layers.ReLU()(y), x])
        y = layers.Add()([y, x]) if adds else y + 0 * x
        return layers.ReLU()(y)

    return build


def schedule(value):
    """Return a schedule from a function of step, peak, warm-up and steps."""

    class WarmUpCosine(keras.optimizers.schedules.LearningRateSchedule):
        def __init__(self, *given):
            self.given = given

        def __call__(self, step):
            return value(ops.cast(step, "float32"), *self.given)

    return WarmUpCosine


def cosine(step, peak, warm_up, steps, waves=0.5):
    fallen = (step - warm_up) / (steps - warm_up)
    falling = (1 + ops.cos(2 * np.pi * waves * fallen)) / 2
    return peak * ops.where(step < warm_up, step / max(warm_up, 1), falling)


def trapezium(step, peak, warm_up, steps):
    return peak * ops.minimum(step / warm_up if warm_up else 1, (steps - step) / (steps - warm_up))


def falls_from_the_start(step, peak, warm_up, steps):
    return ops.minimum(step / max(warm_up, 1), 1) * cosine(step, peak, 0, steps)


def chooses_by_if(step, peak, warm_up, steps):
    if step < warm_up:
        return peak * step / warm_up
    return cosine(step, peak, warm_up, steps)


def head(frozen=True, last="softmax", drop=True, build=lambda network: network, more=(), bias=True):
    def new_head(network, classes):
        network = build(network)
        network.trainable = not frozen
        dense = layers.Dense(classes, last, use_bias=bias)
        return keras.Sequential([network, *[layers.Dropout(0.3)] * drop, *more, dense])

    return new_head


def all_frozen(network, classes):
    whole = head()(network, classes)
    whole.trainable = False
    return whole


def opened(choose, whole=True, returns=lambda network: network):
    """Return a function that opens the layers that are chosen by place, count and kind."""

    def open_last(network, n):
        network.trainable = True
        for k, layer in enumerate(network.layers):
            normalises = isinstance(layer, layers.BatchNormalization)
            layer.trainable = choose(k - len(network.layers) + n, normalises)
        network._trainable = whole
        return returns(network)

    return open_last


def rebiased(change):
    """Return a copy of a network with another last bias."""

    def answer(network, prior, strength):
        made = keras.models.clone_model(network)
        *others, bias = network.get_weights()
        made.set_weights([*others, change(bias, prior, strength)])
        return made

    return answer


def rebiased_in_place(network, prior, strength):
    *others, bias = network.get_weights()
    network.set_weights([*others, bias - strength * np.log(prior)])
    return network


def soft_by_numpy(targets, logits):
    logs = logits - logits.max(axis=1, keepdims=True)
    return -(targets * (logs - np.log(np.exp(logs).sum(axis=1, keepdims=True)))).sum(axis=1)


WRONG = {
    "lesson_01.count_numbers": {"too small: rows": 2 * 48 * 48},
    "lesson_01.most_common_accuracy": {
        "and 0.2857 is right": lambda train, labels: np.mean(labels == np.bincount(train).argmin())
    },
    "lesson_02.mirrored_label": {"'left' is right": lambda label: "up"},
    "lesson_02.augment": {
        "a keras.Sequential is wanted": [layers.RandomFlip("horizontal")],
        "your layers are RandomTranslation": augmentation(order=slice(None, None, -1)),
        "upside down": augmentation("horizontal_and_vertical"),
        "by up to 72 degrees": augmentation(turn=0.2),
        "by up to 40 degrees": augmentation(turn=20 / 180),
        "the wrong way round": augmentation(height=0.05, width=0.1),
        "by up to 0.1 of the width and 0.1": augmentation(width=0.1),
        "in the way {'reflect'}": augmentation(fill="reflect"),
    },
    "lesson_02.random_light": {
        "should stay as they are": light(own, used=True),
        "nothing changes": light(lambda images: 1.0),
        "from pixel to pixel": light(lambda x: keras.random.uniform(x.shape, 0.6, 1.4)),
        "the same light": light(lambda images: own(images[:1])),
        "0.6 to 1.4 is wanted": light(lambda images: own(images, 0, 0.4)),
        "white is 1": light(own, top=9),
        "a layer of Keras is wanted": lambda: own,
        "give the class itself": light(own)(),
        "your code returns None": lambda: None,
    },
    "lesson_03.block": {
        "is there a pooling": block(pool=False),
        "make of the edges": block(padding="valid"),
        "has a bias": block(bias=True),
        "208 parameters": block(twice=1),
        "2,576 are right": block(kernel=5),
        "no dropout": block(drop=False),
        "where is the ReLU": block(relu=layers.Identity),
        "a keras.Sequential is wanted": lambda filters, rate: layers.Conv2D(filters, 3),
    },
    "lesson_03.mended": {
        "the last layer": small_network("relu"),
        "add up to 1": small_network("sigmoid"),
        "how large are the steps": small_network(rate=1e-6),
        "to 1.9": small_network(rate=1.0),
        "not compiled": small_network(compiled=False),
        "a network is wanted": lambda: 7,
    },
    "lesson_04.watchers": {
        "watches 'loss'": watchers("loss"),
        "by 0.1, not by 0.5": watchers(factor=0.1),
        "never cut before the end": watchers(times=(1, 1)),
        "they wait (3, 9)": watchers(times=(1, 3)),
        "the best are to come back": watchers(back=False),
        "first ReduceLROnPlateau": lambda patience: watchers()(patience)[::-1],
        "a list of two callbacks is wanted": lambda patience: watchers()(patience)[0],
    },
    "lesson_04.plateau": {
        "lower than which": plateau("the lowest"),
        "begins anew": plateau("to begin anew"),
        "begins anew at a cut": plateau("all"),
        "stays the same": plateau(strict=False),
        "have waited": plateau(late=1),
        "after epoch 4 is too large": plateau(watched="loss"),
        "Keras's own": lambda factor, patience: keras.callbacks.ReduceLROnPlateau(),
        "a callback of Keras is wanted": lambda factor, patience: [1.0, 0.1],
    },
    "lesson_05.interval": {
        "more than once": ends(replace=False),
        "too narrow": ends(5, 95),
        "too wide": ends(0, 100),
        "for 900 faces your interval is too wide": ends(draw=0.5),
        "for 900 faces your interval is too narrow": ends(draw=10),
        "the low end comes first": ends(97.5, 2.5),
        "of the shape (2,)": lambda right, rounds: right.mean(),
        "do you draw at all": by_formula,
        "both ends are shares": lambda *given: 100 * ends()(*given),
    },
    "lesson_05.macro_recall": {
        "that is the accuracy": metric("accuracy"),
        "only the last batch": metric(keeps="the last"),
        "the mean of the batches": metric("mean of means"),
        "and 0.562 is right": metric("percent"),
        "that is precision": metric("precision"),
        "nothing is counted": metric("nothing"),
        "reset_state": metric(forgets=False),
        "a metric of Keras is wanted": lambda classes: 7,
    },
    "lesson_05.accuracy": {
        "from 0 to 1": evaluation(scale=1),
        "dropout is still at work": evaluation(training=True),
        "its own face": evaluation(order=np.sort),
        "a percentage": lambda *given: 100 * evaluation()(*given),
        "and 0.817 is right": lambda network, images, labels: evaluation()(
            network, images // 255 * 255, labels
        ),
        "a single number": lambda network, images, labels: network(images[..., None] / 255.0),
    },
    "lesson_06.from_pixels": {
        "levels up to 255": around(lambda x, net: net(scaled(x, 1.0))),
        "from -1 to 1": around(lambda x, net: net(scaled(x, 1 / 127.5, -1.0))),
        "rows became columns": around(lambda x, net: net(scaled(layers.Permute((2, 1))(x)))),
        "not those of the given network": around(lambda x, net: net(scaled(x)), copied),
        "as it was": lambda network: network,
        "a network is wanted": lambda network: network.get_weights(),
    },
    "lesson_06.both_ways": {
        "where is the mirror image": asked_twice(lambda x, net: net(x)),
        "only the mirror image": asked_twice(lambda x, net: net(ops.flip(x, 2))),
        "upside down": asked_twice(lambda x, net: mean(net(x), net(ops.flip(x, 1)))),
        "added up": asked_twice(lambda x, net: net(x) + net(ops.flip(x, 2))),
        "the pictures are averaged": asked_twice(lambda x, net: net(mean(x, ops.flip(x, 2)))),
        "the better of the two": asked_twice(
            lambda x, net: layers.Maximum()([net(x), net(ops.flip(x, 2))])
        ),
        "use the same one": asked_twice(lambda x, net: mean(net(x), copied(net)(x))),
        "not the mean of the two": asked_twice(
            lambda x, net: mean(net(x), net(x), net(ops.flip(x, 2)))
        ),
    },
    "lesson_07.saliency": {
        "the sum of all probabilities": gradient(lambda p, k: tf.reduce_sum(p)),
        "the logarithm": gradient(lambda p, k: tf.math.log(p[:, k])),
        "its sign": gradient(lambda p, k: p[:, k], np.abs),
        "cut off": gradient(lambda p, k: p[:, k], lambda found: found.clip(0)),
        "another class": gradient(lambda p, k: p[:, 1]),
        "other numbers": gradient(lambda p, k: 2 * p[:, k]),
        "'NoneType' object": unwatched,
    },
    "lesson_07.class_activation": {
        "all maps count the same": activation(lambda maps, w, b, k: maps.sum(axis=-1)),
        "no answer yet": activation(lambda maps, w, b, k: maps.mean(axis=-1)),
        "belongs to no place": activation(lambda maps, w, b, k: maps @ w[:, k] + b[k]),
        "cut off": activation(lambda maps, w, b, k: maps @ w[:, k], lambda found: found.clip(0)),
        "another class": activation(lambda maps, w, b, k: maps @ w[:, 1]),
        "of the shape (2, 4, 4)": activation(lambda maps, w, b, k: maps @ w),
    },
    "lesson_08.block": {
        "a usual one": separable(usual=True),
        "has a bias": separable(bias=True),
        "where it needs none": separable(shortcut=True),
        "your code raised": separable(shortcut=False),
        "is the input added": separable(adds=False),
        "ReLU is to come last": separable(relu="first"),
        "comes out, not (12, 12, 8)": lambda x, filters: layers.MaxPooling2D()(x),
        "what comes out of the last layer": lambda x, filters: layers.ReLU(),
        "there are 0": lambda x, filters: layers.ReLU()(x),
    },
    "lesson_08.warm_up_cosine": {
        "at its peak": schedule(falls_from_the_start),
        "fall in a curve": schedule(trapezium),
        "come down to 0": schedule(lambda *given: cosine(*given, waves=1)),
        "where along the rise": schedule(
            lambda step, peak, warm, steps: cosine(max(step, warm), peak, warm, steps)
        ),
        "here the rate is at its peak": schedule(lambda step, peak, *rest: cosine(step, 1, *rest)),
        "neither `if` nor NumPy": schedule(chooses_by_if),
        "give the class itself": schedule(cosine)(1.0, 10, 20),
    },
    "lesson_08.mixup": {
        "2 things are wanted": lambda images, targets, shares: images,
        "ValueError": lambda images, targets, shares: (shares * images, targets),
    },
    "lesson_09.new_head": {
        "is not frozen": head(frozen=False),
        "nothing learns": all_frozen,
        "add up to 1": head(last="sigmoid"),
        "no dropout": head(drop=False),
        "random weights": head(build=copied),
        "15 are right": head(bias=False),
        "35 numbers learn": head(more=[layers.Dense(4)]),
        "a network is wanted": lambda network, classes: classes,
    },
    "lesson_09.open_last": {
        "a batch normalisation is open": opened(lambda k, normalises: k >= 0),
        "it should be the other way": opened(lambda k, normalises: k < 0 and not normalises),
        "with n = 4, 1 layers are open": opened(lambda k, normalises: k == 3),
        "number 1 of 10": opened(lambda k, normalises: not normalises),
        "shut, so nothing learns": opened(
            lambda k, normalises: k >= 0 and not normalises, whole=False
        ),
        "return the network": opened(lambda k, n: k >= 0 and not n, returns=copied),
    },
    "lesson_09.nearest_mean": {"is right": lambda x, y, new: np.full(len(new), y[0])},
    "lesson_10.soft_loss": {"a training by Keras": soft_by_numpy},
    "lesson_10.without_prior": {
        "work on a copy": rebiased_in_place,
        "as the one that you were given": lambda network, prior, strength: network,
        "become rarer": rebiased(lambda b, p, s: b + s * np.log(p)),
        "not its logarithm": rebiased(lambda b, p, s: b - s * p),
        "no effect": rebiased(lambda b, p, s: b - np.log(p)),
        "the bias changed": rebiased(lambda b, p, s: -s * np.log(p)),
        "all weights the given ones": lambda network, prior, strength: copied(network),
        "a network is wanted": lambda network, prior, strength: network.get_weights(),
    },
}

RIGHT = {
    "lesson_01.count_numbers": 27648.0,
    "lesson_01.class_shares": lambda y, k: [sum(y == i) / len(y) for i in range(k)],
    "lesson_01.most_common_accuracy": lambda a, b: float(
        (b == max(set(a), key=list(a).count)).mean()
    ),
    "lesson_01.count_contradictions": lambda g, y: (
        np.bincount(np.unique(np.stack([g, y]), axis=1)[0]) > 1
    ).sum(),
    "lesson_02.mirrored_label": lambda label: " ".join(
        {"left": "right", "right": "left"}.get(word) or word for word in label.split(" ")
    ),
    "lesson_02.random_light": light(lambda x: 0.6 + 0.8 * np.random.rand(len(x), 1, 1, 1)),
    "lesson_03.conv_parameters": lambda k, c, f: np.zeros((k, k, c, f)).size + np.zeros(f).size,
    "lesson_03.block": block(relu=lambda: layers.Activation("relu")),
    "lesson_03.mended": small_network(),
    "lesson_03.convolve": lambda picture, kernel: [
        [
            np.sum(picture[y:, x:][: len(kernel), : len(kernel[0])] * kernel.astype("float32"))
            for x in range(len(picture[0]) - len(kernel[0]) + 1)
        ]
        for y in range(len(picture) - len(kernel) + 1)
    ],
    "lesson_04.guesser_loss": lambda c: np.float32(-np.log(np.repeat(c, c) / c.sum()).mean()),
    "lesson_04.plateau": plateau(),
    "lesson_05.macro_f1": lambda c: np.float32(
        np.mean([c[k, k] / (c[k].sum() + c[:, k].sum()) * 2 for k in range(len(c))])
    ),
    "lesson_05.interval": lambda right, rounds: tuple(
        np.quantile(
            np.random.default_rng(1).binomial(len(right), right.mean(), rounds), (0.025, 0.975)
        )
        / len(right)
    ),
    "lesson_05.macro_recall": metric(),
    "lesson_05.accuracy": lambda network, images, labels: float(
        (network.predict(images / 255, verbose=0).argmax(1) == labels).mean()
    ),
    "lesson_06.from_pixels": around(lambda x, net: net(scaled(x))),
    "lesson_06.both_ways": asked_twice(lambda x, net: (net(x) + net(x[:, :, ::-1])) / 2),
    "lesson_06.coverage": lambda sure, right, wanted: max(
        [np.mean(sure >= least) for least in sure if right[sure >= least].mean() >= wanted],
        default=0,
    ),
    "lesson_07.age_of_answer": np.float32(36),
    "lesson_07.saliency": gradient(lambda p, k: tf.reduce_sum(p[:, k])),
    "lesson_07.smoothed": lambda p, n: [
        [np.mean(p[:, k][: t + 1][-n:]) for k in range(p.shape[1])] for t in range(len(p))
    ],
    "lesson_08.block": separable(),
    "lesson_08.warm_up_cosine": schedule(cosine),
    "lesson_08.mixup": lambda x, y, shares: [
        np.array([s * a + (1 - s) * b for s, a, b in zip(shares, z, z[::-1], strict=True)])
        for z in (x, y)
    ],
    "lesson_09.new_head": head(),
    "lesson_09.open_last": opened(lambda k, normalises: k >= 0 and not normalises),
    "lesson_10.share_of_sad": 3 / 4,
    "lesson_10.soft_loss": lambda targets, logits: keras.losses.categorical_crossentropy(
        targets, logits, from_logits=True
    ),
    "lesson_10.without_prior": rebiased(lambda b, p, s: b - np.log(p**s)),
    "lesson_10.reported": lambda v, t: [t[np.argsort(v)[-1]], sorted(t)[-1]],
}
