"""Checks of lesson 4, Train with class weights."""

from __future__ import annotations

import keras
import numpy as np

from notebooks.exercises.checks import call, exercise, function, name, need, need_kind, same


@exercise("both watch what should be watched, the first to act waits less, and the best comes back")
def watchers(answer) -> None:
    for patience in (3, 5):
        made = call(answer, patience, trial=f"a trial with patience = {patience}")
        need_kind(made, list | tuple, "a list of two callbacks")
        kinds = (keras.callbacks.ReduceLROnPlateau, keras.callbacks.EarlyStopping)
        fits = [type(one) for one in made] == list(kinds)
        need(fits, "two are wanted: first ReduceLROnPlateau, then EarlyStopping.")
        plateau, stopping = made
        for callback in made:
            watches = f"{name(callback)} watches {callback.monitor!r}, not 'val_loss'."
            need(callback.monitor == "val_loss", watches)
        need(plateau.factor == 0.5, f"the rate is multiplied by {plateau.factor:g}, not by 0.5.")
        waits = (plateau.patience, stopping.patience)
        need(waits[0] < waits[1], f"they wait {waits}: the rate is never cut before the end.")
        need(waits == (patience, 2 * patience), f"for {patience}, they wait {waits} epochs.")
        back = "at its end the training keeps its last weights; the best are to come back."
        need(stopping.restore_best_weights, back)


def _entropy(counts):
    shares = counts[counts > 0] / counts.sum()
    return -(shares @ np.log(shares))


guesser_loss = function(
    "each class pays for its share, and one without a picture pays nothing",
    _entropy,
    {
        "with 30 and 10 pictures": (np.array([30, 10]),),
        "with 60, 20, 0 and 20 pictures": (np.array([60, 20, 0, 20]),),
    },
    {
        "you get nan where a class has no picture: what is the logarithm of 0?": (
            lambda counts: -np.sum(counts / counts.sum() * np.log(counts / counts.sum()))
        ),
        "a loss is not below 0: the logarithm of a share is negative.": lambda c: -_entropy(c),
        "the lesson's loss has the natural logarithm, and yours that to the base of 2.": (
            lambda counts: _entropy(counts) / np.log(2)
        ),
        "that is the loss of all pictures together; the mean is wanted.": (
            lambda counts: _entropy(counts) * counts.sum()
        ),
        "that is the mean over the classes; more pictures pay for a common class.": (
            lambda counts: -np.log(counts / counts.sum()).mean()
        ),
        "that guesser gives all classes the same, and does not know the counts.": (
            lambda counts: np.log(len(counts))
        ),
    },
)


def _scaled(weights, counts):
    return weights * counts.sum() / (counts @ weights)


soft_weights = function(
    "the proportions follow the power, and all pictures together count as without weights",
    lambda counts, power: _scaled(counts**-power, counts),
    {
        "with 30 and 10 pictures and the power 1": (np.array([30, 10]), 1.0),
        "with 400, 25 and 75 pictures and the power 0.5": (np.array([400, 25, 75]), 0.5),
        "with 60, 5, 20 and 15 pictures and the power 0": (np.array([60, 5, 20, 15]), 0.0),
    },
    {
        "the proportions are right, and the mean over the classes is 1; over the pictures it is "
        "to be.": lambda counts, power: counts**-power / np.mean(counts**-power),
        "the proportions are right, but the mean weight of all pictures is not 1.": (
            lambda counts, power: (counts.sum() / (len(counts) * counts)) ** power
        ),
        "these are the weights for the power 1.": (
            lambda counts, power: counts.sum() / (len(counts) * counts)
        ),
        "the common classes get the heavy weights.": (
            lambda counts, power: _scaled(counts**power, counts)
        ),
    },
)


@exercise("the rate falls where the waiting is over, and only there")
def plateau(answer) -> None:
    for losses, patience, cuts, hint in (
        ([1.9, 1.6, 1.5], 2, [], "there is always something lower."),
        ([1.9, 1.6, 1.7, 1.8, 1.5], 2, [3], "how many epochs have waited by then?"),
        ([1.9, 1.6, 1.7, 1.8, 1.9, 2.0, 2.1], 2, [3, 5], "what begins anew at a cut?"),
        ([1.0, 0.8, 0.9, 0.85, 0.84, 0.83], 3, [4], "lower than which epoch must it be?"),
        ([1.0, 0.8, 0.8, 0.8, 0.8], 2, [3], "is a loss that stays the same lower?"),
    ):
        trial = f"a trial with the losses {losses} and a patience of {patience}"
        callback = call(answer, 0.1, patience, trial=trial)
        need_kind(callback, keras.callbacks.Callback, "a callback of Keras")
        own = not isinstance(callback, keras.callbacks.ReduceLROnPlateau)
        need(own, "this is Keras's own callback; write yours without it.")
        network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        network.compile(keras.optimizers.SGD(1.0))
        callback.set_model(network)
        found = call(lambda one, all_of: list(_rates(one, all_of)), callback, losses, trial=trial)
        right = np.cumprod([0.1 if epoch in cuts else 1 for epoch in range(len(losses))])
        for epoch, (rate, wanted) in enumerate(zip(found, right, strict=True), start=1):
            too = "large" if rate > wanted else "small"
            fits = same(rate, wanted)
            need(fits, f"in {trial} the rate after epoch {epoch} is too {too}: {hint}")


def _rates(callback, losses):
    """Let a callback see the losses of a training, and yield the rate after each epoch."""
    callback.on_train_begin()
    for epoch, loss in enumerate(losses):
        callback.on_epoch_begin(epoch)
        callback.on_epoch_end(epoch, {"loss": 1 / (epoch + 1), "val_loss": loss})
        yield float(callback.model.optimizer.learning_rate)
