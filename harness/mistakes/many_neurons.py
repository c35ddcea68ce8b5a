"""The mistakes that teachers know in the stages of a layer; σ has a module of its own."""

from __future__ import annotations

from harness.course.mistake import Mistake
from harness.mistakes.sigmoid import MANY as SIGMOID

__all__ = ["SIGMOID", "SQUARED_ERROR", "WEIGHTED_SUM"]

_SHAPE = "Write down the shapes of the two factors and of the result. "

WEIGHTED_SUM = (
    Mistake(
        "transposed-result",
        {"w": "a_prev.T @ g"},
        hint=_SHAPE + "w is (n_out, n_in): which of the two axes comes first in your product?",
    ),
    Mistake(
        "transposed-result-reshaped",
        {"w": "(a_prev.T @ g).reshape(w.shape)"},
        hint="reshape keeps the numbers in their order and only draws new row ends. Is that what "
        "swapping rows and columns does?",
    ),
    Mistake(
        "reshape-for-transpose",
        {"w": "g.reshape(K, N) @ a_prev"},
        hint="reshape keeps the numbers in their order and only draws new row ends. Is that what "
        "swapping rows and columns does?",
    ),
    Mistake(
        "transpose-missing",
        {"w": "g @ a_prev"},
        hint=_SHAPE + "Which axis do the two share, and does it stand where @ looks for it?",
    ),
    Mistake(
        "both-transposed",
        {"w": "g.T @ a_prev.T"},
        hint=_SHAPE + "Which axis should vanish, and does it stand where @ looks for it?",
    ),
    Mistake(
        "transpose-too-many",
        {"a_prev": "g @ w.T"},
        hint=_SHAPE + "Forward went from n_in to n_out through w.T; which way does this one go?",
    ),
    Mistake(
        "transposed-weights-reshaped",
        {"a_prev": "g @ w.T.reshape(w.shape)"},
        hint="The shapes fit now, but the numbers sit in other places. Follow one single weight: "
        "between which two neurons is it?",
    ),
    Mistake(
        "factors-swapped",
        {"a_prev": "w @ g"},
        hint=_SHAPE + "The result has a row for each sample; which factor has?",
    ),
    Mistake(
        "entrywise-product",
        {"w": "g * a_prev"},
        hint=_SHAPE + "With * every entry meets the one in its own place. Is there such a place "
        "for each pair here?",
    ),
    Mistake(
        "input-entrywise",
        {"a_prev": "g * w"},
        hint="One neuron below feeds all neurons above. Which product adds up over them?",
    ),
    Mistake(
        "output-for-input",
        {"w": "g.T @ z"},
        hint="A weight multiplies what comes into the neuron. Is z what comes in, or what goes "
        "out?",
    ),
    Mistake(
        "output-passed-down",
        {"a_prev": "z @ w"},
        hint="What should come down is how C feels z, not z itself. Which name has that?",
    ),
    Mistake(
        "weights-for-upstream",
        {"w": "z.T @ a_prev"},
        hint="What should come down is how C feels z, not z itself. Which name has that?",
    ),
    Mistake(
        "swapped",
        {"a_prev": "g.T @ a_prev", "w": "g @ w"},
        hint="Torch hands out what you return in the order of forward's inputs. What is that "
        "order?",
    ),
    Mistake(
        "bias-first",
        {"a_prev": "g.sum(0)", "w": "g @ w", "b": "g.T @ a_prev"},
        hint="Torch hands out what you return in the order of forward's inputs. What is that "
        "order?",
    ),
    Mistake(
        "bias-not-summed",
        {"b": "g"},
        hint="One bias serves all samples of the batch. By how many routes does it reach C, and "
        "what happens to routes?",
    ),
    Mistake(
        "bias-averaged",
        {"b": "g.mean(0)"},
        hint="The routes from a bias to C, one for each sample, add up. Who divides by N, and is "
        "it done already when g gets here?",
    ),
    Mistake(
        "bias-summed-over-outputs",
        {"b": "g.sum(1)"},
        hint="Each output has a bias of its own, and all samples share it. Over which axis does "
        "one sum then?",
    ),
    Mistake(
        "bias-summed-over-all",
        {"b": "g.sum() * ones_like(b)"},
        hint="All your biases get the same gradient. Does C feel the bias of the first neuron as "
        "it feels that of the last?",
    ),
    Mistake(
        "bias-summed-to-a-number",
        {"b": "g.sum()"},
        hint="Every gradient has the shape of the thing itself. Which shape has b?",
    ),
    Mistake(
        "bias-counts-samples",
        {"b": "N * ones_like(b)"},
        hint="You have counted the routes from the bias. How strongly does C feel each of them?",
    ),
    Mistake(
        "bias-first-sample",
        {"b": "g[0]"},
        hint="You look at one sample. What about the others, which use the same bias?",
    ),
    Mistake(
        "bias-last-sample",
        {"b": "g[-1]"},
        hint="You look at one sample. What about the others, which use the same bias?",
    ),
    Mistake(
        "bias-largest-sample",
        {"b": "g.amax(0)"},
        hint="You keep one sample for each output. What about the others, which use the same bias?",
    ),
    Mistake(
        "bias-times-itself",
        {"b": "(g * b).sum(0)"},
        hint="Does it matter how large b is already, when you move it by a little?",
    ),
    Mistake(
        "bias-as-a-weight",
        {"b": "g.T @ a_prev.sum(1)"},
        hint="A weight is multiplied with an input. Is the bias?",
    ),
    Mistake(
        "bias-cumulative",
        {"b": "g.cumsum(0)"},
        hint="Every gradient has the shape of the thing itself. Which of your rows holds the "
        "whole sum?",
    ),
    Mistake(
        "bias-ignored",
        {"b": "zeros_like(b)"},
        hint="Zero means that z stays as it is when b moves. Does it?",
    ),
    Mistake(
        "bias-none",
        {"b": "None"},
        hint="None means that C does not depend on b at all. Would a network learn its bias then?",
    ),
    Mistake(
        "input-none",
        {"a_prev": "None"},
        hint="None ends the way down here. How would the layers below learn?",
    ),
    Mistake(
        "weight-none",
        {"w": "None"},
        hint="None means that C does not depend on w at all. What then is there to learn?",
    ),
    Mistake(
        "all-negative",
        {"a_prev": "-g @ w", "w": "-g.T @ a_prev", "b": "-g.sum(0)"},
        hint="The gradient says which way C rises. To go downhill is somebody else's step: whose?",
    ),
    Mistake(
        "averaged-twice",
        {"w": "g.T @ a_prev / N", "b": "g.sum(0) / N"},
        hint="The cost has divided by N already, in its own backward. How often does your network "
        "divide by N now?",
    ),
    Mistake(
        "weights-averaged-twice",
        {"w": "g.T @ a_prev / N"},
        hint="The cost has divided by N already, in its own backward. How often does your network "
        "divide by N now?",
    ),
    Mistake(
        "averaged-all-the-way",
        {"a_prev": "g @ w / N", "w": "g.T @ a_prev / N", "b": "g.sum(0) / N"},
        hint="The cost has divided by N already, in its own backward. How often does your network "
        "divide by N now?",
    ),
    Mistake(
        "samples-counted-in",
        {"w": "N * g.T @ a_prev"},
        hint="A product of matrices adds up over the axis that vanishes. Has it not counted the "
        "samples already?",
    ),
    Mistake(
        "last-sample-only",
        {"w": "outer(g[-1], a_prev[-1])"},
        hint="A weight serves every sample. Which samples does your result know of?",
    ),
    Mistake(
        "first-sample-only",
        {"w": "outer(g[0], a_prev[0])"},
        hint="A weight serves every sample. Which samples does your result know of?",
    ),
    Mistake(
        "summed-before-multiplied",
        {"w": "outer(g.sum(0), a_prev.sum(0))"},
        hint="Each sample's g belongs to that sample's a_prev. In which order must one multiply "
        "and add, so that they meet?",
    ),
    Mistake(
        "averaged-before-multiplied",
        {"w": "outer(g.mean(0), a_prev.mean(0)) * N"},
        hint="Each sample's g belongs to that sample's a_prev. Do they still meet after averaging?",
    ),
    Mistake(
        "samples-kept-apart",
        {"w": "g[:, :, None] * a_prev[:, None, :]"},
        hint="You have one gradient of w for each sample. There is only one w: how many routes "
        "lead from it to C?",
    ),
    Mistake(
        "weights-still-there",
        {"w": "g.T @ a_prev * w"},
        hint="The derivative of 3x is 3. What has become of x, and what of your w?",
    ),
    Mistake(
        "inputs-still-there",
        {"a_prev": "g @ w * a_prev"},
        hint="The derivative of 3x is 3. What has become of x, and what of your a_prev?",
    ),
    Mistake(
        "power-rule",
        {"w": "2 * g.T @ a_prev"},
        hint="There is a 2 in your formula. Is anything squared in this stage?",
    ),
    Mistake(
        "learning-rate-folded-in",
        {"w": "-0.1 * g.T @ a_prev"},
        hint="A gradient says how C feels a change. Who decides how large a step to take, and "
        "which way?",
    ),
    Mistake(
        "hidden-weight-decay",
        {"w": "g.T @ a_prev + 1e-6 * w"},
        hint="Part of your gradient is there even when g is 0. Where could it come from, if C "
        "feels nothing?",
    ),
    Mistake(
        "weights-summed-no-upstream",
        {"a_prev": "w.sum(0).expand(N, -1)"},
        hint="All your samples get the same gradient. What makes them differ?",
    ),
    Mistake(
        "first-output-only",
        {"a_prev": "g[:, :1] @ w[:1]"},
        hint="A neuron below feeds all neurons above. Through how many of them does C feel it, "
        "and through how many in your formula?",
    ),
    Mistake(
        "averaged-over-outputs",
        {"a_prev": "g @ w / K"},
        hint="The routes from one neuron below, through all neurons above, add up. Does adding up "
        "divide by their number?",
    ),
    Mistake(
        "summed-over-samples",
        {"a_prev": "(g @ w).sum(0).expand(N, -1)"},
        hint="Every sample has a row of its own in a_prev, and rows never meet. What have you "
        "summed over?",
    ),
    Mistake(
        "outputs-summed-first",
        {"a_prev": "outer(g.sum(1), w.sum(0))"},
        hint="Each output's g goes down along that output's weights. Do they still meet after "
        "both are summed?",
    ),
    Mistake(
        "layer-below-folded-in",
        {"a_prev": "(g @ w) * a_prev * (1 - a_prev)"},
        hint="You have gone one stage too far. At which value should the way down end here?",
    ),
    Mistake(
        "sigmoid-folded-in",
        {"w": "(g * sigmoid(z) * (1 - sigmoid(z))).T @ a_prev"},
        hint="g has passed the sigmoid already when it reaches z. Which stage's slope have you "
        "multiplied in?",
    ),
    Mistake(
        "upstream-normalised",
        {
            "a_prev": "g / g.norm() @ w",
            "w": "(g / g.norm()).T @ a_prev",
            "b": "(g / g.norm()).sum(0)",
        },
        hint="The length of g tells how strongly C feels. What happens to that in your formula?",
    ),
    Mistake(
        "weights-upstream-missing",
        {"w": "ones_like(g).T @ a_prev"},
        hint="All rows of your result are the same, so all neurons would learn the same. What "
        "tells them apart?",
    ),
    Mistake(
        "bias-subtracted-in-both",
        {"b": "-g.sum(0)"},
        forward="a_prev @ w.T - b",
        hint="Forward and backward fit each other. Compare the forward with the formula, sign by "
        "sign.",
    ),
    Mistake(
        "bias-left-out-of-both",
        {"b": "zeros_like(b)"},
        forward="a_prev @ w.T",
        hint="Forward and backward fit each other, and both have forgotten one of the three "
        "inputs. Which?",
    ),
    Mistake(
        "bias-left-out-of-forward",
        forward="a_prev @ w.T",
        hint="Count the inputs that your forward uses.",
    ),
    Mistake(
        "bias-doubled-in-both",
        {"b": "2 * g.sum(0)"},
        forward="a_prev @ w.T + 2 * b",
        hint="How often does the bias enter the sum?",
    ),
    Mistake(
        "averaged-in-both",
        {"a_prev": "g @ w / K", "w": "g.T @ a_prev / K"},
        forward="a_prev @ w.T / K + b",
        hint="A weighted sum adds up. What do you divide by, and why?",
    ),
    Mistake(
        "sigmoid-in-both",
        {
            "a_prev": "(g * z * (1 - z)) @ w",
            "w": "(g * z * (1 - z)).T @ a_prev",
            "b": "(g * z * (1 - z)).sum(0)",
        },
        forward="sigmoid(a_prev @ w.T + b)",
        hint="You have taken two steps at once. Which of them is the next stage's?",
    ),
    Mistake(
        "weights-of-the-first-call",
        code="first = None\n\n"
        "@staticmethod\n"
        "def backward(ctx, g):\n"
        "    a_prev, w, b, z = ctx.saved_tensors\n"
        "    if getattr(Right, 'first', None) is None:\n"
        "        Right.first = w\n"
        "    return g @ Right.first, g.T @ a_prev, g.sum(0)\n",
        hint="Weights change with every step of learning. Of which step are those that you go "
        "back through?",
        rejected_by=("gradient/*",),
    ),
    Mistake(
        "input-divided-by-itself",
        {"w": "g.T @ (a_prev ** 2 / a_prev)"},
        hint="A blank pixel is 0. What comes of your division there?",
        rejected_by=("special",),
    ),
    Mistake(
        "inputs-kept-in-the-class",
        code="kept = None\n\n"
        "@staticmethod\n"
        "def forward(ctx, a_prev, w, b):\n"
        "    Right.kept = (a_prev, w)\n"
        "    return a_prev @ w.T + b\n\n"
        "@staticmethod\n"
        "def backward(ctx, g):\n"
        "    a_prev, w = Right.kept\n"
        "    return g @ w, g.T @ a_prev, g.sum(0)\n",
        hint="The class is shared by all layers. Whose inputs does it hold when backward begins?",
        rejected_by=("memory",),
    ),
    Mistake(
        "upstream-viewed",
        code="@staticmethod\n"
        "def backward(ctx, g):\n"
        "    a_prev, w, b, z = ctx.saved_tensors\n"
        "    rows = g.view(-1).view(g.shape)\n"
        "    return rows @ w, rows.T @ a_prev, rows.sum(0)\n",
        hint="view asks how the numbers lie in memory, and a transposed g lies differently. Is "
        "there any need for it?",
        rejected_by=("layout",),
    ),
    Mistake(
        "bias-only-with-weights",
        code="@staticmethod\n"
        "def backward(ctx, g):\n"
        "    a_prev, w, b, z = ctx.saved_tensors\n"
        "    needed = ctx.needs_input_grad\n"
        "    gb = g.sum(0) if needed[1] else None\n"
        "    return g @ w, g.T @ a_prev, gb\n",
        hint="Somebody may freeze the weights and train the biases. Which entry of "
        "ctx.needs_input_grad do you ask for b?",
        rejected_by=("subsets",),
    ),
)

SQUARED_ERROR = (
    Mistake(
        "not-averaged",
        {"a": "g * 2 * (a - y)"},
        hint="The cost is an average over the samples. Where in your backward is the averaging?",
    ),
    Mistake(
        "averaged-over-everything",
        {"a": "g * 2 * (a - y) / (N * K)"},
        hint="The outputs of a sample are summed, its samples are averaged. By how many numbers "
        "does the formula divide?",
    ),
    Mistake(
        "averaged-over-outputs",
        {"a": "g * 2 * (a - y) / K"},
        hint="Over which axis does the formula average: over the samples, or over the outputs?",
    ),
    Mistake(
        "averaged-twice",
        {"a": "g * 2 * (a - y) / N ** 2"},
        hint="The formula divides by N once. How often do you?",
    ),
    Mistake(
        "one-sample-less",
        {"a": "g * 2 * (a - y) / (N - 1)"},
        hint="Dividing by one less is for estimating a variance. What does the formula divide by?",
    ),
    Mistake(
        "root-of-n",
        {"a": "g * 2 * (a - y) / N ** 0.5"},
        hint="Is there a root in the formula of the cost?",
    ),
    Mistake(
        "multiplied-by-n",
        {"a": "g * 2 * (a - y) * N"},
        hint="With more samples in the average, does a single one count for more, or for less?",
    ),
    Mistake(
        "batch-of-five",
        {"a": "g * 2 * (a - y) / 5"},
        hint="You divide by a number that fits one batch. What if the next batch has another size?",
    ),
    Mistake(
        "batch-of-sixty-four",
        {"a": "g * 2 * (a - y) / 64"},
        hint="You divide by a number that fits one batch. What if the next batch has another size?",
    ),
    Mistake(
        "lost-factor-two",
        {"a": "g * (a - y) / N"},
        hint="Differentiate x² once more. What comes down from the exponent?",
    ),
    Mistake(
        "lost-two-and-n",
        {"a": "g * (a - y)"},
        hint="Differentiate x² once more, and look for the average of the formula. What is missing "
        "in yours?",
    ),
    Mistake(
        "sign",
        {"a": "g * 2 * (y - a) / N"},
        hint="If a is above y and goes up further, does C rise or fall? Which sign does your "
        "formula give?",
    ),
    Mistake(
        "target-dropped",
        {"a": "g * 2 * a / N"},
        hint="When all predictions are exactly right, C cannot get any lower. Is your gradient 0 "
        "there?",
    ),
    Mistake(
        "still-squared",
        {"a": "g * 2 * (a - y) ** 2 / N"},
        hint="When 2 comes down from the exponent, what is left up there?",
    ),
    Mistake(
        "not-differentiated",
        {"a": "g * (a - y) ** 2 / N"},
        hint="That is what the cost is made of. How much does it change when a does?",
    ),
    Mistake(
        "absolute-error",
        {"a": "g * 2 * abs(a - y) / N"},
        hint="A prediction can be too high or too low. Can your gradient tell?",
    ),
    Mistake(
        "sign-of-the-error",
        {"a": "g * sign(a - y) / N"},
        hint="That is the slope of |a − y|. Does a square get steeper further out?",
    ),
    Mistake(
        "next-stage-folded-in",
        {"a": "g * 2 * (a - y) * a * (1 - a) / N"},
        hint="You have gone one stage too far: this one ends at a. Which factor belongs to the "
        "sigmoid?",
    ),
    Mistake(
        "squares-subtracted",
        {"a": "g * 2 * (a ** 2 - y ** 2) / N"},
        hint="Is the square of a difference the difference of the squares? Try a = 3, y = 1.",
    ),
    Mistake(
        "missing-brackets",
        {"a": "g * (2 * a - y) / N"},
        hint="The 2 belongs to the whole difference. Write it out: what becomes of y?",
    ),
    Mistake(
        "missing-outer-brackets",
        {"a": "g * 2 * a - y / N"},
        hint="Python multiplies and divides before it subtracts. What should g, 2 and N apply to?",
    ),
    Mistake(
        "plus-for-minus",
        {"a": "g * 2 * (a + y) / N"},
        hint="What does C compare a with, and how: by a sum, or by a difference?",
    ),
    Mistake(
        "averaged-over-samples",
        {"a": "(g * 2 * (a - y) / N).mean(0).expand(N, -1)"},
        hint="C is averaged, which is no reason to average what goes back. Which entry of a made "
        "which error?",
    ),
    Mistake(
        "summed-over-outputs",
        {"a": "(g * 2 * (a - y) / N).sum(1, keepdim=True).expand(-1, K)"},
        hint="In how many terms of the double sum does a single a[n, j] appear?",
    ),
    Mistake(
        "all-summed",
        {"a": "(g * 2 * (a - y) / N).sum()"},
        hint="Every gradient has the shape of the thing itself. Which shape has a?",
    ),
    Mistake(
        "all-averaged",
        {"a": "(g * 2 * (a - y)).mean() * ones_like(a)"},
        hint="All entries of your gradient are the same. Is every prediction equally far off?",
    ),
    Mistake(
        "first-output-only",
        {"a": "g * 2 * (a - y)[:, :1].expand(-1, K) / N"},
        hint="You look at one output of each sample. What about the errors of the others?",
    ),
    Mistake(
        "first-sample-only",
        {"a": "g * 2 * (a - y)[:1].expand(N, -1) / N"},
        hint="You look at one sample. What about the errors of the others?",
    ),
    Mistake(
        "root-of-the-cost",
        {"a": "g * (a - y) / (N * sqrt(C))"},
        hint="That is the slope of the root of C. Is there a root in the formula?",
    ),
    Mistake(
        "cross-entropy-slope",
        {"a": "g * (a - y) / (a * (1 - a)) / N"},
        hint="That is the slope of another cost, often used for classification. Which cost is "
        "asked for here?",
    ),
    Mistake(
        "learning-rate-folded-in",
        {"a": "-0.1 * g * 2 * (a - y) / N"},
        hint="A gradient says how C feels a change. Who decides how large a step to take, and "
        "which way?",
    ),
    Mistake(
        "a-none",
        {"a": "None"},
        hint="None ends the way down before it has begun. Which of the two inputs came from the "
        "network?",
    ),
    Mistake(
        "order-of-returns",
        {"a": "-g * 2 * (a - y) / N", "y": "g * 2 * (a - y) / N"},
        hint="Torch hands out what you return in the order of forward's inputs. Which comes first?",
    ),
    Mistake(
        "target-same-sign",
        {"y": "g * 2 * (a - y) / N"},
        hint="Move the target towards the prediction, and then the prediction towards the target: "
        "both make C fall. Do a and y move the same way then?",
    ),
    Mistake(
        "target-zero",
        {"y": "zeros_like(y)"},
        hint="Zero says that C would stay as it is if y moved. If you do not want to say anything "
        "about y, what can you return instead?",
    ),
    Mistake(
        "target-not-averaged",
        {"y": "-g * 2 * (a - y)"},
        hint="You need not return a gradient for y. If you do, it has to be right: where is the "
        "averaging?",
    ),
    Mistake(
        "target-itself",
        {"y": "y"},
        hint="You need not return anything for y. If you do, torch takes it for a gradient.",
    ),
    Mistake(
        "mean-in-both",
        {"a": "g * 2 * (a - y) / (N * K)", "y": "-g * 2 * (a - y) / (N * K)"},
        forward="((a - y) ** 2).mean()",
        hint="mean divides by the number of all entries. Which of its axes does the formula "
        "average over, and which does it sum?",
    ),
    Mistake(
        "sum-in-both",
        {"a": "g * 2 * (a - y)", "y": "-g * 2 * (a - y)"},
        forward="((a - y) ** 2).sum()",
        hint="With twice as many samples your cost is twice as large. Should it be?",
    ),
    Mistake(
        "half-in-both",
        {"a": "g * (a - y) / N", "y": "-g * (a - y) / N"},
        forward="((a - y) ** 2).sum() / (2 * N)",
        hint="Many books halve the cost, so that the 2 goes away. Does this one?",
    ),
    Mistake(
        "root-in-both",
        {"a": "g * (a - y) / (N * C)", "y": "-g * (a - y) / (N * C)"},
        forward="sqrt(((a - y) ** 2).sum() / N)",
        hint="You have taken a root at the end. Does the formula?",
    ),
    Mistake(
        "absolute-in-both",
        {"a": "g * sign(a - y) / N", "y": "-g * sign(a - y) / N"},
        forward="abs(a - y).sum() / N",
        hint="Your cost grows in a straight line. How does a square grow?",
    ),
    Mistake(
        "mean-in-forward-only",
        forward="((a - y) ** 2).mean()",
        hint="mean divides by the number of all entries. Which of its axes does the formula "
        "average over, and which does it sum?",
    ),
    Mistake(
        "costs-kept-apart",
        forward="((a - y) ** 2).sum(1) / N",
        hint="The cost is one number for the whole batch. How many numbers does your forward "
        "return?",
        rejected_by=("forward",),
    ),
    Mistake(
        "squared-and-divided",
        {"a": "2 * g * (a - y) ** 2 / (a - y) / N"},
        hint="You square the error and divide by it. What comes of that when a is exactly y?",
        rejected_by=("special",),
    ),
    Mistake(
        "sizes-kept-in-the-class",
        code="@staticmethod\n"
        "def forward(ctx, a, y):\n"
        "    Right.samples = len(a)\n"
        "    return Right.forward(ctx, a, y)\n\n"
        "@staticmethod\n"
        "def backward(ctx, g):\n"
        "    a, y, C = ctx.saved_tensors\n"
        "    return 2 * g * (a - y) / Right.samples, None\n",
        hint="The last batch is often smaller than the others. Which batch's size does the class "
        "hold when backward begins?",
        rejected_by=("memory",),
    ),
)
