"""Sums, differences, products, comparisons, counting."""
from words import ANIMALS, COLOURS, GOODS

from . import Example, skill, user


def number(value):
    return ("number", str(value))


def column_sum(a, b):
    """The written method, digit by digit from the right."""
    steps, carry = [], 0
    left, right = str(a)[::-1], str(b)[::-1]
    for i in range(max(len(left), len(right))):
        digits = [int(n[i]) for n in (left, right) if i < len(n)] + [carry] * (carry > 0)
        total = sum(digits)
        line = " + ".join(map(str, digits)) + (f" = {total}" if len(digits) > 1 else "")
        carry = total // 10
        steps.append(line + (f", write {total % 10}, carry 1" if carry and i + 1 < max(len(left), len(right)) else ""))
    return "\n".join(steps)


def column_difference(a, b):
    steps, borrow = [], 0
    left, right = str(a)[::-1], str(b)[::-1]
    for i, digit in enumerate(left):
        top, bottom = int(digit), int(right[i]) if i < len(right) else 0
        taken = f" - {bottom}" * (i < len(right)) + f" - {borrow}" * (borrow > 0)
        rest = top - bottom - borrow
        borrow = int(rest < 0)
        start = f"1{top}" if borrow else f"{top}"
        steps.append(f"{start}{taken} = {rest % 10}" + ", borrow 1" * borrow if taken else f"{top}")
    return "\n".join(steps)


SUM = ["What is {a} + {b}?", "{a} + {b} = ?", "What is {a} plus {b}?", "Add {a} and {b}.", "How much is {a} + {b}?", "{a}+{b}", "{a} + {b}",
       "Calculate {a} + {b}.", "Can you add {a} and {b}?", "what's {a} plus {b}?", "Please compute {a} + {b}.", "What does {a} + {b} make?",
       "How much is {a} and {b} together?", "What is the sum of {a} and {b}?"]
DIFFERENCE = ["What is {a} - {b}?", "{a} - {b} = ?", "What is {a} minus {b}?", "Take {b} from {a}.", "How much is {a} - {b}?", "{a}-{b}",
              "{a} - {b}", "Calculate {a} - {b}.", "Subtract {b} from {a}.", "what's {a} minus {b}?", "What is {a} less {b}?"]
PRODUCT = ["What is {a} * {b}?", "What is {a} times {b}?", "{a} x {b} = ?", "Multiply {a} by {b}.", "How much is {a} times {b}?",
           "{a} * {b}", "Calculate {a} * {b}.", "What is the product of {a} and {b}?"]


def sum_example(rng, a, b):
    return Example(user(rng.choice(SUM).format(a=a, b=b)), f"{a} + {b} = {a + b}.", column_sum(a, b), number(a + b))


@skill(weight=3.0, held_out=104)
def addition(rng, fillers):
    """Two digits each."""
    return sum_example(rng, *fillers.pair(10, 99))


@skill(weight=1.0, held_out=16, group="arithmetic")
def addition_other(rng, fillers):
    """One digit, or three with two or three."""
    low, high, low2, high2 = rng.choice(((1, 9, 10, 99), (10, 99, 1, 9), (100, 999, 10, 99), (100, 999, 100, 999), (1, 9, 1, 9)))
    if high2 == 9 and high == 9:  # too few pairs to keep any of them back
        return sum_example(rng, rng.randint(0, 9), rng.randint(0, 9))
    return sum_example(rng, *fillers.pair(low, high, low2, high2))


@skill(weight=1.8, held_out=16, group="arithmetic")
def subtraction(rng, fillers):
    a, b = fillers.pair(1, 99)
    a, b = max(a, b), min(a, b)
    return Example(user(rng.choice(DIFFERENCE).format(a=a, b=b)), f"{a} - {b} = {a - b}.", column_difference(a, b), number(a - b))


@skill(weight=1.0, held_out=16, group="arithmetic")
def multiplication(rng, fillers):
    if rng.random() < 0.5:
        a, b = rng.randint(0, 10), rng.randint(0, 10)
        thought = f"The table of {b}: " + ", ".join(str(b * i) for i in range(1, a + 1)) if a else f"0 times {b} is 0"
    else:
        a, b = fillers.pair(11, 49, 2, 9)
        tens, ones = a // 10 * 10, a % 10
        thought = f"{tens} * {b} = {tens * b}\n{ones} * {b} = {ones * b}\n{tens * b} + {ones * b} = {a * b}"
    return Example(user(rng.choice(PRODUCT).format(a=a, b=b)), f"{a} * {b} = {a * b}.", thought, number(a * b))


@skill(weight=1.2, held_out=16, group="arithmetic")
def word_problem(rng, fillers):
    name, goods = fillers.name(), fillers.one(GOODS)
    if rng.random() < 0.6:
        a, b = fillers.pair(2, 60)
        text, total = rng.choice((f"{name} has {a} {goods} and buys {b} more.", f"{name} has {a} {goods} and gets {b} more.",
                                  f"{name} found {a} {goods} and then {b} more.", f"There are {a} {goods} in a box. {name} adds {b} more.")), a + b
        line, thought = f"{a} + {b} = {total}", column_sum(a, b)
    else:
        a, b = fillers.pair(2, 60)
        a, b = max(a, b), min(a, b)
        text, total = rng.choice((f"{name} has {a} {goods} and loses {b}.", f"{name} had {a} {goods} and gave away {b}.",
                                  f"{name} has {a} {goods} and sells {b} of them.")), a - b
        line, thought = f"{a} - {b} = {total}", column_difference(a, b)
    question = rng.choice((f"How many {goods} are there now?", f"How many {goods} now?") if text.startswith("There")
                          else (f"How many {goods} does {name} have now?", f"How many {goods} has {name} got?", f"How many {goods} are left?"
                                if "-" in line else f"How many {goods} does {name} have in all?"))
    return Example(user(f"{text} {question}"), f"{line}, so there are {total} {goods}.", f"{line.split(' = ')[0]}\n{thought}", number(total))


@skill(weight=1.3, held_out=26, group="counting")
def counting(rng, fillers):
    kind = rng.choice(("up", "up", "down", "next", "before", "steps"))
    if kind in ("up", "down"):
        start, length = rng.randint(0, 90), rng.randint(3, 10)
        while not fillers.allowed("count", start, length):
            start, length = rng.randint(0, 90), rng.randint(3, 10)
        run = list(range(start, start + length))
        run = run if kind == "up" else run[::-1]
        text = rng.choice(("Count from {a} to {b}.", "Please count from {a} to {b}.", "Can you count from {a} to {b}?"))
        if kind == "down":
            text = rng.choice(("Count down from {a} to {b}.", "Count backwards from {a} to {b}.", "Count from {a} down to {b}."))
        thought = f"Start at {run[0]}, go {kind} by 1, stop at {run[-1]}."
    elif kind == "steps":
        start, step, length = rng.randint(0, 30), rng.choice((2, 3, 5, 10)), rng.randint(4, 7)
        run = [start + step * i for i in range(length)]
        text = rng.choice(("Count from {a} to {b} in steps of {s}.", "Count from {a} to {b} by {s}."))
        thought = f"Start at {start}, add {step} each time, stop at {run[-1]}."
        text = text.replace("{s}", str(step))
    else:
        n = rng.randint(1, 200)
        answer = n + 1 if kind == "next" else n - 1
        text = rng.choice({"next": ("What number comes after {a}?", "Which number follows {a}?", "What comes after {a}?"),
                           "before": ("What number comes before {a}?", "Which number is just below {a}?", "What comes before {a}?")}[kind])
        sign = "+" if kind == "next" else "-"
        return Example(user(text.format(a=n)), f"{answer} comes {'after' if kind == 'next' else 'before'} {n}.", f"{n} {sign} 1 = {answer}",
                       ("contains", [f"{answer} comes"]))
    answer = ", ".join(map(str, run))
    return Example(user(text.format(a=run[0], b=run[-1])), answer + ".", thought, ("contains", [answer]))


@skill(weight=1.3, held_out=26, group="counting")
def count_words(rng, fillers):
    """How many of one thing stand in a list."""
    words = [fillers.invented() if rng.random() < 0.3 else rng.choice(ANIMALS + COLOURS) for _ in range(rng.randint(2, 3))]
    wanted = words[0]
    row = [rng.choice(words) for _ in range(rng.randint(3, 8))]
    n = row.count(wanted)
    joined = rng.choice((" ", ", ")).join(row)
    text = rng.choice((f"How many times is {wanted} in this list: {joined}", f"Count the word {wanted}: {joined}",
                       f"How often does {wanted} appear? {joined}"))
    seen, marks = 0, []
    for word in row:
        seen += word == wanted
        marks.append(f"{word} {seen}")
    return Example(user(text), f"{wanted}: {n}.", ", ".join(marks), number(n))


@skill(weight=0.9, held_out=16, group="arithmetic")
def comparison(rng, fillers):
    a, b = fillers.pair(1, 150)
    if a == b:
        b += 1
    larger = rng.random() < 0.5
    text = rng.choice(("Which is larger, {a} or {b}?", "Which number is bigger: {a} or {b}?", "Is {a} or {b} greater?") if larger
                      else ("Which is smaller, {a} or {b}?", "Which number is less: {a} or {b}?"))
    high, low = max(a, b), min(a, b)
    answer = f"{high} is larger than {low}." if larger else f"{low} is smaller than {high}."
    size = lambda n: f"{n} has {len(str(n))} digit" + "s" * (n > 9)
    thought = f"{size(a)}, {size(b)}" if len(str(a)) != len(str(b)) else f"{high} > {low}"
    return Example(user(text.format(a=a, b=b)), answer, thought, ("contains", [answer]))
