"""The mistakes that teachers know in a = σ(z)."""

from __future__ import annotations

from harness.course.mistake import Mistake

_SLOPE = "How steep is σ at this z? Take a z far to the right, where σ is almost flat: "

ONE = (
    Mistake(
        "z-for-a",
        {"z": "g * z * (1 - z)"},
        hint="The slope of σ can be told from what comes out of it alone. Of z and a, which one "
        "comes out, and which one stands in your formula?",
    ),
    Mistake(
        "z-for-the-first-a",
        {"z": "g * z * (1 - a)"},
        hint="Your slope mixes what goes into σ and what comes out of it. Derive σ once more: do "
        "both appear in the end?",
    ),
    Mistake(
        "z-for-the-second-a",
        {"z": "g * a * (1 - z)"},
        hint="Your slope mixes what comes out of σ and what goes into it. Derive σ once more: do "
        "both appear in the end?",
    ),
    Mistake(
        "sigmoid-applied-twice",
        {"z": "g * sigmoid(a) * (1 - sigmoid(a))"},
        hint="What you saved in forward: is it z, or has the sigmoid been applied to it already?",
    ),
    Mistake(
        "second-factor-lost",
        {"z": "g * a"},
        hint=_SLOPE + "a is near 1 there. What does your formula say, and what should it say?",
    ),
    Mistake(
        "first-factor-lost",
        {"z": "g * (1 - a)"},
        hint="How steep is σ far to the left, where a is near 0? Does your formula agree?",
    ),
    Mistake(
        "tanh-slope",
        {"z": "g * (1 - a ** 2)"},
        hint="That is the slope of another curve with the same S shape, which runs from −1 to 1. "
        "From where to where does σ run?",
    ),
    Mistake(
        "tanh-slope-of-z",
        {"z": "g * (1 - tanh(z) ** 2)"},
        hint="You have differentiated an S curve, though not this one. What does σ give at z = 0?",
    ),
    Mistake(
        "sign-of-the-slope",
        {"z": "g * a * (a - 1)"},
        hint="σ rises everywhere. Which sign has your slope?",
    ),
    Mistake(
        "plus-for-minus",
        {"z": "g * a * (1 + a)"},
        hint=_SLOPE + "is your slope flat there too?",
    ),
    Mistake(
        "passed-through",
        {"z": "g"},
        hint="You hand on what came in, as if a were z. How much does a move when z moves by a "
        "little?",
    ),
    Mistake(
        "passed-through-negative",
        {"z": "-g"},
        hint="How much, and which way, does a move when z moves up by a little?",
    ),
    Mistake(
        "relu-slope",
        {"z": "g * (z > 0)"},
        hint="That slope belongs to a function with a corner at 0. Has σ a corner?",
    ),
    Mistake(
        "slope-at-zero-everywhere",
        {"z": "g / 4"},
        hint="That is how steep σ is in its middle. Is it as steep at z = 3?",
    ),
    Mistake(
        "output-for-slope",
        {"z": "a"},
        hint="You return the value of σ. The question is how much it moves, and what becomes of g.",
    ),
    Mistake(
        "input-for-slope",
        {"z": "g * z"},
        hint="g times the input would be right for a product with a weight. Is there a product "
        "in σ(z)?",
    ),
    Mistake(
        "square-of-the-output",
        {"z": "g * a ** 2"},
        hint="Write σ as 1/(1 + e⁻ᶻ) and differentiate the fraction. There is a square, but what "
        "stands above it?",
    ),
    Mistake(
        "square-in-the-bracket",
        {"z": "g * a * (1 - a ** 2)"},
        hint="Only one of the two factors is as you think. What have you squared, and why?",
    ),
    Mistake(
        "whole-slope-squared",
        {"z": "g * (a * (1 - a)) ** 2"},
        hint="The slope enters the chain once. At z = 0 it is a quarter: what does your formula "
        "give there?",
    ),
    Mistake(
        "missing-brackets",
        {"z": "g * a * 1 - a"},
        hint="Python multiplies before it subtracts. Which part belongs together?",
    ),
    Mistake(
        "inner-function-left-out",
        {"z": "g * exp(-z)"},
        hint="The exponential is inside a fraction. What does the chain rule say about the "
        "fraction around it?",
    ),
    Mistake(
        "power-rule-on-the-exponential",
        {"z": "g * z * exp(-z - 1) / (1 + exp(-z)) ** 2"},
        hint="The power rule is for zⁿ, where the exponent is fixed. What is fixed in e⁻ᶻ?",
    ),
    Mistake(
        "divided-by-the-slope",
        {"z": "g / (a * (1 - a))"},
        hint="You go from C back to z. Is what you have a rate of a with z, or of z with a?",
    ),
    Mistake(
        "softplus-for-slope",
        {"z": "g * log(1 + exp(z))"},
        hint="That is what σ is the derivative of. In which direction is one to go here?",
    ),
    Mistake(
        "cost-folded-in",
        {"z": "g * 2 * a * a * (1 - a)"},
        hint="How a came about, and what C makes of it, are two stages. Which of your factors "
        "belongs to the other one?",
    ),
    Mistake(
        "learning-rate-folded-in",
        {"z": "-0.1 * g * a * (1 - a)"},
        hint="A gradient says how C feels a change. Who decides how large a step to take, and "
        "which way?",
    ),
    Mistake(
        "factor-two-too-many",
        {"z": "2 * g * a * (1 - a)"},
        hint="At z = 0, where is the tangent to σ after a step of 1 to the right? Does your slope "
        "lead there?",
    ),
    Mistake(
        "never-quite-zero",
        {"z": "g * a * (1 - a) + 1e-6"},
        hint="You have added a little. What for, and what does it do where the gradient itself is "
        "little?",
    ),
    Mistake(
        "zero-where-saturated",
        {"z": "g * a * (1 - a) * (abs(z) < 4)"},
        hint="Beyond some z your slope is 0. It is small there, but is it nothing?",
    ),
    Mistake(
        "zero-far-out",
        {"z": "g * a * (1 - a) * (abs(z) < 18)"},
        hint="Beyond some z your slope is 0. Print σ at −19 and at −20: does it not move at all?",
        rejected_by=("stability",),
    ),
    Mistake(
        "zero-in-between",
        {"z": "g * a * (1 - a) * ((abs(z) < 8) | (abs(z) > 14))"},
        hint="For some z your slope is 0, and further out it is not. Is σ flat there?",
    ),
    Mistake(
        "clamped-for-safety",
        {"z": "g * clamp(a, 1e-7, 1) * (1 - clamp(a, 0, 1 - 1e-7))"},
        hint="You keep a away from 0 and 1. Nothing here divides by a or takes its logarithm: "
        "what is there to be safe from?",
        rejected_by=("stability",),
    ),
    Mistake(
        "overflowing-slope",
        {"z": "g * exp(z) / (1 + exp(z)) ** 2"},
        hint="Try z = 800 by hand: what is e⁸⁰⁰ to a computer, and what is that divided by its "
        "own square?",
        rejected_by=("stability",),
    ),
    Mistake(
        "underflowing-slope",
        {"z": "g * exp(-z) / (1 + exp(-z)) ** 2"},
        hint="Try z = −800 by hand: what is e⁸⁰⁰ to a computer, and what is that divided by its "
        "own square?",
        rejected_by=("stability",),
    ),
    Mistake(
        "approximated-slope",
        {"z": "g * (sigmoid(z + 1e-3) - sigmoid(z - 1e-3)) / 2e-3"},
        hint="A difference of two neighbours comes near the slope, and that is how a check is "
        "made. What would be the slope itself?",
        rejected_by=("precision",),
    ),
    Mistake(
        "overflowing-forward",
        forward="exp(z) / (1 + exp(z))",
        hint="Try your forward with z = 800: what is e⁸⁰⁰ to a computer? A fraction can be written "
        "so that only small numbers are exponentiated.",
        rejected_by=("stability",),
    ),
    Mistake(
        "tanh-forward-and-backward",
        {"z": "g * (1 - a ** 2)"},
        forward="tanh(z)",
        hint="Forward and backward fit each other, but they are those of another function. What "
        "should come out at z = 0?",
    ),
    Mistake(
        "mirrored-forward-and-backward",
        {"z": "-g * a * (1 - a)"},
        forward="sigmoid(-z)",
        hint="Your function falls where σ rises. Look at the sign in the exponent.",
    ),
    Mistake(
        "relu-forward-and-backward",
        {"z": "g * (z > 0)"},
        forward="z.clamp(min=0)",
        hint="Forward and backward fit each other, but this is not the function asked for. What "
        "is the largest value that σ can take?",
    ),
    Mistake(
        "straight-line-forward-and-backward",
        {"z": "g / 4 * (abs(z) < 2)"},
        forward="(z / 4 + 0.5).clamp(0, 1)",
        hint="Your function is made of straight pieces. Where is σ straight?",
    ),
    Mistake(
        "gaussian-forward-and-backward",
        {"z": "-2 * g * z * a"},
        forward="exp(-z ** 2)",
        hint="Your function rises and falls again. Is there a z at which σ turns around?",
    ),
    Mistake(
        "identity-forward-and-backward",
        {"z": "g"},
        forward="z * 1",
        hint="What goes into your function comes out as it was. Where is σ?",
    ),
    Mistake(
        "zero-left-out",
        {"z": "g * a * (1 - a) * (z != 0)"},
        hint="At z = 0 your slope is 0. Is σ flat there, or as steep as it gets?",
        rejected_by=("special",),
    ),
    Mistake(
        "activation-kept-in-the-class",
        code="kept = None\n\n"
        "@staticmethod\n"
        "def forward(ctx, z):\n"
        "    Right.kept = Right.forward(ctx, z)\n"
        "    return Right.kept.clone()\n\n"
        "@staticmethod\n"
        "def backward(ctx, g):\n"
        "    a = Right.kept\n"
        "    return g * a * (1 - a)\n",
        hint="The class is shared by all layers. Which layer's activation does it hold when "
        "backward begins?",
        rejected_by=("memory",),
    ),
    Mistake(
        "activations-on-a-stack",
        code="stack = []\n\n"
        "@staticmethod\n"
        "def forward(ctx, z):\n"
        "    a = Right.forward(ctx, z)\n"
        "    Sigmoid.stack.append(a.clone())\n"
        "    return a\n\n"
        "@staticmethod\n"
        "def backward(ctx, g):\n"
        "    a = Sigmoid.stack[-1]\n"
        "    return g * a * (1 - a)\n",
        hint="You take what the latest forward left. Is it always the latest forward that torch "
        "goes back through?",
        rejected_by=("memory",),
    ),
    Mistake(
        "slope-into-the-upstream",
        code="@staticmethod\n"
        "def backward(ctx, g):\n"
        "    z, a = ctx.saved_tensors\n"
        "    return g.mul_(a * (1 - a))\n",
        hint="The underscore in mul_ says where the result is written to. Who else may read that "
        "tensor?",
        rejected_by=("purity",),
    ),
    Mistake(
        "slope-into-the-activation",
        code="@staticmethod\n"
        "def backward(ctx, g):\n"
        "    z, a = ctx.saved_tensors\n"
        "    a = a.data\n"
        "    return g * a.mul_(1 - a)\n",
        hint="What you saved has changed once your backward has run. What will its next run find?",
        rejected_by=("memory",),
    ),
    Mistake(
        "input-negated-in-place",
        code="@staticmethod\n"
        "def forward(ctx, z):\n"
        "    a = 1 / (1 + z.neg_().exp())\n"
        "    ctx.save_for_backward(z, a)\n"
        "    return a\n",
        hint="The underscore in neg_ says where the result is written to. What is z after your "
        "forward?",
        rejected_by=("purity",),
    ),
)

MANY = (
    *ONE,
    Mistake(
        "slopes-summed",
        {"z": "(g * a * (1 - a)).sum() * ones_like(z)"},
        hint="Every entry of z makes one entry of a and no other. Is there anything to sum?",
    ),
    Mistake(
        "slopes-averaged",
        {"z": "g * (a * (1 - a)).mean()"},
        hint="Every entry sits at its own place on the curve. Do they all have the same slope?",
    ),
    Mistake(
        "upstream-averaged",
        {"z": "g.mean() * a * (1 - a)"},
        hint="Every entry of a has its own entry of g. Which one belongs to a[n, j]?",
    ),
    Mistake(
        "upstream-summed",
        {"z": "g.sum(0) * a * (1 - a)"},
        hint="Sample n's activations make sample n's cost. Why should g of the other samples come "
        "in?",
    ),
    Mistake(
        "first-sample-only",
        {"z": "g * (a * (1 - a))[0]"},
        hint="You take the slope from one row for all of them. Do all samples have the same z?",
    ),
    Mistake(
        "averaged-over-samples",
        {"z": "g * a * (1 - a) / N"},
        hint="The cost averages over the samples, and says so in its own backward. Where does "
        "averaging happen in σ?",
    ),
    Mistake(
        "upstream-normalised",
        {"z": "g / g.norm() * a * (1 - a)"},
        hint="The length of g tells how strongly C feels. What happens to that in your formula?",
    ),
    Mistake(
        "softmax-slope",
        {"z": "a * (g - (g * a).sum(1, keepdim=True))"},
        hint="In your formula the outputs of one sample share something. Does σ look at one "
        "neuron at a time, or at the whole layer?",
    ),
    Mistake(
        "softmax-forward",
        {"z": "a * (g - (g * a).sum(1, keepdim=True))"},
        forward="softmax(z, 1)",
        hint="Your outputs of a sample add up to 1. Does σ ask for that?",
    ),
    Mistake(
        "matrix-product-for-product",
        {"z": "g @ (a * (1 - a)).T @ g"},
        hint="@ sums over an axis. When every entry goes its own way, which product is it?",
    ),
    Mistake(
        "flattened",
        code="@staticmethod\n"
        "def backward(ctx, g):\n"
        "    z, a = ctx.saved_tensors\n"
        "    return (g.view(-1) * (a * (1 - a)).reshape(-1)).view(a.shape)\n",
        hint="view asks how the numbers lie in memory, and a transposed g lies differently. Is "
        "there any need to flatten it?",
        rejected_by=("layout",),
    ),
)
