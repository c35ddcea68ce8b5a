"""The mistakes that teachers know in the stages of one neuron; σ has a module of its own."""

from __future__ import annotations

from harness.course.mistake import Mistake
from harness.mistakes.sigmoid import ONE as SIGMOID

__all__ = ["SIGMOID", "SQUARED_ERROR", "WEIGHTED_SUM"]

WEIGHTED_SUM = (
    Mistake(
        "upstream-for-all",
        {"a_prev": "g", "w": "g"},
        hint="If you move w by a little, does z move by just as much? What is w multiplied with?",
    ),
    Mistake(
        "swapped",
        {"a_prev": "g * a_prev", "w": "g * w"},
        hint="The one that you hold still is the one that says how much the other counts. Which "
        "is held still when w moves?",
    ),
    Mistake(
        "input-for-weight",
        {"a_prev": "g * a_prev"},
        hint="Move a_prev by a little: what is it multiplied with on its way to z?",
    ),
    Mistake(
        "weight-for-input",
        {"w": "g * w"},
        hint="Move w by a little: what is it multiplied with on its way to z?",
    ),
    Mistake(
        "output-for-input",
        {"w": "g * z"},
        hint="A weight acts on what comes into the neuron. Is z what comes in, or what goes out?",
    ),
    Mistake(
        "output-passed-down",
        {"a_prev": "g * z"},
        hint="z is the value of the sum. How much does it change when a_prev does?",
    ),
    Mistake(
        "output-for-bias",
        {"b": "g * z"},
        hint="z is the value of the sum. How much does it change when b does?",
    ),
    Mistake(
        "bias-times-itself",
        {"b": "g * b"},
        hint="Does it matter how large b is already, when you move it by a little?",
    ),
    Mistake(
        "bias-as-a-weight",
        {"b": "g * a_prev"},
        hint="A weight is multiplied with a_prev. Is the bias?",
    ),
    Mistake(
        "bias-times-weight",
        {"b": "g * w"},
        hint="In z = w·a_prev + b, what is b multiplied with?",
    ),
    Mistake(
        "bias-ignored",
        {"b": "zeros_like(g)"},
        hint="b is held fixed while w is learnt, but then it is b's turn. What does z do when b "
        "moves?",
    ),
    Mistake(
        "bias-is-one",
        {"b": "ones_like(b)"},
        hint="You have said how z feels b. How does C feel it?",
    ),
    Mistake(
        "bias-negative",
        {"b": "-g"},
        hint="If b goes up by a little, which way does z go?",
    ),
    Mistake(
        "bias-doubled",
        {"b": "2 * g"},
        hint="How often does b enter the sum?",
    ),
    Mistake(
        "bias-none",
        {"b": "None"},
        hint="None means that C does not depend on b at all. Would a network learn its bias then?",
    ),
    Mistake(
        "input-none",
        {"a_prev": "None"},
        hint="None ends the way down here. How would the layer below learn?",
    ),
    Mistake(
        "weight-none",
        {"w": "None"},
        hint="None means that C does not depend on w at all. What then is there to learn?",
    ),
    Mistake(
        "all-negative",
        {"a_prev": "-g * w", "w": "-g * a_prev", "b": "-g"},
        hint="The gradient says which way C rises. To go downhill is somebody else's step: whose?",
    ),
    Mistake(
        "divided",
        {"w": "g / a_prev"},
        hint="Solve nothing for w: let it move, and see how much z moves along. Is that more or "
        "less when a_prev is large?",
    ),
    Mistake(
        "input-divided",
        {"a_prev": "g / w"},
        hint="If the weight is large, does z feel a_prev more, or less?",
    ),
    Mistake(
        "bias-still-there",
        {"w": "g * a_prev + b"},
        hint="When w moves and b does not, what does b contribute to the change?",
    ),
    Mistake(
        "bias-in-the-slope",
        {"w": "g * (a_prev + b)"},
        hint="When w moves and b does not, what does b contribute to the change?",
    ),
    Mistake(
        "power-rule",
        {"w": "2 * g * a_prev"},
        hint="There is a 2 in your formula. Is anything squared in this stage?",
    ),
    Mistake(
        "weight-still-there",
        {"w": "g * w * a_prev"},
        hint="The derivative of 3x is 3. What has become of x, and what of your w?",
    ),
    Mistake(
        "input-still-there",
        {"a_prev": "g * w * a_prev"},
        hint="The derivative of 3x is 3. What has become of x, and what of your a_prev?",
    ),
    Mistake(
        "added-for-multiplied",
        {"w": "g + a_prev"},
        hint="Two stages in a row each scale the change. Is that a sum of two factors?",
    ),
    Mistake(
        "input-added-for-multiplied",
        {"a_prev": "g + w"},
        hint="Two stages in a row each scale the change. Is that a sum of two factors?",
    ),
    Mistake(
        "learning-rate-folded-in",
        {"w": "-0.1 * g * a_prev"},
        hint="A gradient says how C feels a change. Who decides how large a step to take, and "
        "which way?",
    ),
    Mistake(
        "hidden-weight-decay",
        {"w": "g * a_prev + 1e-3 * w"},
        hint="Part of your gradient is there even when g is 0. Where could it come from, if C "
        "feels nothing?",
    ),
    Mistake(
        "sigmoid-folded-in",
        {"w": "g * a_prev * sigmoid(z) * (1 - sigmoid(z))"},
        hint="g has passed the sigmoid already when it reaches z. Which stage's slope have you "
        "multiplied in?",
    ),
    Mistake(
        "layer-below-folded-in",
        {"a_prev": "g * w * a_prev * (1 - a_prev)"},
        hint="You have gone one stage too far. At which value should the way down end here?",
    ),
    Mistake(
        "order-of-returns",
        {"a_prev": "g", "b": "g * w"},
        hint="Torch hands out what you return in the order of forward's inputs. What is that "
        "order?",
    ),
    Mistake(
        "bias-first",
        {"a_prev": "g", "w": "g * w", "b": "g * a_prev"},
        hint="Torch hands out what you return in the order of forward's inputs. What is that "
        "order?",
    ),
    Mistake(
        "bias-subtracted-in-both",
        {"b": "-g"},
        forward="w * a_prev - b",
        hint="Forward and backward fit each other. Compare the forward with the formula, sign by "
        "sign.",
    ),
    Mistake(
        "bias-left-out-of-both",
        {"b": "zeros_like(g)"},
        forward="w * a_prev",
        hint="Forward and backward fit each other, and both have forgotten one of the three "
        "inputs. Which?",
    ),
    Mistake(
        "bias-left-out-of-forward",
        forward="w * a_prev",
        hint="Count the inputs that your forward uses.",
    ),
    Mistake(
        "bias-inside-the-product",
        {"w": "g * (a_prev + b)", "b": "g * w"},
        forward="w * (a_prev + b)",
        hint="Is the bias added before the weight is applied, or after?",
    ),
    Mistake(
        "product-forgotten",
        {"a_prev": "g", "w": "g"},
        forward="w + a_prev + b",
        hint="In a weighted sum, what does the weight do to its input?",
    ),
    Mistake(
        "sigmoid-in-both",
        {
            "a_prev": "g * z * (1 - z) * w",
            "w": "g * z * (1 - z) * a_prev",
            "b": "g * z * (1 - z)",
        },
        forward="sigmoid(w * a_prev + b)",
        hint="You have taken two steps at once. Which of them is the next stage's?",
    ),
    Mistake(
        "solved-for-the-input",
        {"w": "g * ((z - b) / w)"},
        hint="You get a_prev back from z, by a division. What comes of it when w is 0?",
        rejected_by=("special",),
    ),
    Mistake(
        "solved-for-the-weight",
        {"a_prev": "g * ((z - b) / a_prev)"},
        hint="You get w back from z, by a division. What comes of it when a_prev is 0?",
        rejected_by=("special",),
    ),
    Mistake(
        "inputs-kept-in-the-class",
        code="kept = None\n\n"
        "@staticmethod\n"
        "def forward(ctx, a_prev, w, b):\n"
        "    Right.kept = (a_prev, w)\n"
        "    return w * a_prev + b\n\n"
        "@staticmethod\n"
        "def backward(ctx, g):\n"
        "    a_prev, w = Right.kept\n"
        "    return g * w, g * a_prev, g\n",
        hint="The class is shared by all layers. Whose inputs does it hold when backward begins?",
        rejected_by=("memory",),
    ),
)

SQUARED_ERROR = (
    Mistake(
        "lost-factor-two",
        {"a": "g * (a - y)"},
        hint="Differentiate x² once more. What comes down from the exponent?",
    ),
    Mistake(
        "sign",
        {"a": "2 * g * (y - a)"},
        hint="If a is above y and goes up further, does C rise or fall? Which sign does your "
        "formula give?",
    ),
    Mistake(
        "target-dropped",
        {"a": "2 * g * a"},
        hint="When the prediction is exactly right, C cannot get any lower. Is your gradient 0 "
        "there?",
    ),
    Mistake(
        "output-dropped",
        {"a": "-2 * g * y"},
        hint="When the prediction is exactly right, C cannot get any lower. Is your gradient 0 "
        "there?",
    ),
    Mistake(
        "still-squared",
        {"a": "2 * g * (a - y) ** 2"},
        hint="When 2 comes down from the exponent, what is left up there?",
    ),
    Mistake(
        "not-differentiated",
        {"a": "g * (a - y) ** 2"},
        hint="That is the cost itself. How much does it change when a does?",
    ),
    Mistake(
        "twice-the-cost",
        {"a": "2 * g * C * a"},
        hint="C is the value of the cost. Which derivative has the cost itself in it?",
    ),
    Mistake(
        "absolute-error",
        {"a": "2 * g * abs(a - y)"},
        hint="A prediction can be too high or too low. Can your gradient tell?",
    ),
    Mistake(
        "sign-of-the-error",
        {"a": "g * sign(a - y)"},
        hint="That is the slope of |a − y|. Does a square get steeper further out?",
    ),
    Mistake(
        "next-stage-folded-in",
        {"a": "2 * g * (a - y) * a * (1 - a)"},
        hint="You have gone one stage too far: this one ends at a. Which factor belongs to the "
        "sigmoid?",
    ),
    Mistake(
        "squares-subtracted",
        {"a": "2 * g * (a ** 2 - y ** 2)"},
        hint="Is the square of a difference the difference of the squares? Try a = 3, y = 1.",
    ),
    Mistake(
        "missing-brackets",
        {"a": "g * (2 * a - y)"},
        hint="The 2 belongs to the whole difference. Write it out: what becomes of y?",
    ),
    Mistake(
        "missing-outer-brackets",
        {"a": "g * 2 * a - y"},
        hint="Python multiplies before it subtracts. What should g and 2 be multiplied with?",
    ),
    Mistake(
        "plus-for-minus",
        {"a": "2 * g * (a + y)"},
        hint="What does C compare a with, and how: by a sum, or by a difference?",
    ),
    Mistake(
        "factor-four",
        {"a": "4 * g * (a - y)"},
        hint="One 2 comes down from the exponent. Where does the other one come from?",
    ),
    Mistake(
        "factor-three",
        {"a": "3 * g * (a - y) ** 2"},
        hint="To which power is the error raised here?",
    ),
    Mistake(
        "halved",
        {"a": "g * (a - y) / 2"},
        hint="When the exponent comes down, does one multiply with it, or divide by it?",
    ),
    Mistake(
        "constant-slope",
        {"a": "2 * g"},
        hint="Does it not matter to C how far a is from y?",
    ),
    Mistake(
        "passed-through",
        {"a": "g"},
        hint="You hand on what came in, as if C were a. How does C depend on a?",
    ),
    Mistake(
        "target-for-slope",
        {"a": "g * y"},
        hint="The target says where a should be. How far away it is, is another question.",
    ),
    Mistake(
        "divided-by-the-error",
        {"a": "g * 2 / (a - y)"},
        hint="Close to the target, C is flat. Is your gradient small there?",
    ),
    Mistake(
        "integrated",
        {"a": "g * (a - y) ** 3 / 3"},
        hint="The exponent went up where it should come down. Which rule have you applied?",
    ),
    Mistake(
        "root-of-the-cost",
        {"a": "g / (2 * abs(a - y))"},
        hint="That has a root in it somewhere. Is there one in C₀ = (a − y)²?",
    ),
    Mistake(
        "cross-entropy-slope",
        {"a": "g * (a - y) / (a * (1 - a))"},
        hint="That is the slope of another cost, often used for classification. Which cost is "
        "asked for here?",
    ),
    Mistake(
        "learning-rate-folded-in",
        {"a": "-0.1 * g * 2 * (a - y)"},
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
        {"a": "-g * 2 * (a - y)", "y": "g * 2 * (a - y)"},
        hint="Torch hands out what you return in the order of forward's inputs. Which comes first?",
    ),
    Mistake(
        "target-same-sign",
        {"y": "g * 2 * (a - y)"},
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
        "target-lost-factor-two",
        {"y": "-g * (a - y)"},
        hint="You need not return a gradient for y. If you do, it has to be right: what comes down "
        "from the exponent?",
    ),
    Mistake(
        "target-itself",
        {"y": "y"},
        hint="You need not return anything for y. If you do, torch takes it for a gradient.",
    ),
    Mistake(
        "target-upstream",
        {"y": "g"},
        hint="You need not return anything for y. If you do: how does C depend on it?",
    ),
    Mistake(
        "half-in-both",
        {"a": "g * (a - y)", "y": "-g * (a - y)"},
        forward="0.5 * (a - y) ** 2",
        hint="Many books halve the cost, so that the 2 goes away. Does this one?",
    ),
    Mistake(
        "absolute-in-both",
        {"a": "g * sign(a - y)", "y": "-g * sign(a - y)"},
        forward="abs(a - y)",
        hint="Your cost grows in a straight line. How does a square grow?",
    ),
    Mistake(
        "squares-in-both",
        {"a": "2 * g * a", "y": "-2 * g * y"},
        forward="a ** 2 - y ** 2",
        hint="Is the square of a difference the difference of the squares? Try a = 3, y = 1.",
    ),
    Mistake(
        "plus-in-both",
        {"a": "2 * g * (a + y)", "y": "2 * g * (a + y)"},
        forward="(a + y) ** 2",
        hint="When the prediction is exactly right, the cost should be 0. Is yours?",
    ),
    Mistake(
        "not-squared-in-both",
        {"a": "g", "y": "-g"},
        forward="a - y",
        hint="Your cost can fall below 0. Can a square?",
    ),
    Mistake(
        "half-in-forward-only",
        forward="0.5 * (a - y) ** 2",
        hint="Compare your forward with the formula: is everything in it that should be, and "
        "nothing else?",
    ),
    Mistake(
        "cost-divided-by-the-error",
        {"a": "2 * g * C / (a - y)"},
        hint="You get the error back from C, by a division. What comes of it when a is exactly y?",
        rejected_by=("special",),
    ),
    Mistake(
        "error-kept-in-the-class",
        code="@staticmethod\n"
        "def forward(ctx, a, y):\n"
        "    Right.error = a - y\n"
        "    return Right.error ** 2\n\n"
        "@staticmethod\n"
        "def backward(ctx, g):\n"
        "    return 2 * g * Right.error, None\n",
        hint="The class is shared by all samples. Whose error does it hold when backward begins?",
        rejected_by=("memory",),
    ),
)
