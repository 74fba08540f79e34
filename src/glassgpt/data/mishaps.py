"""More adventures: things go wrong, and somebody helps; things change hands, and somebody is glad.

The beats of the plots that `plots` begins, one block for each, in its order.
"""

MISHAPS: dict[str, tuple[str, ...]] = {
    # Two things change hands.
    "swap_meet": (
        "It so happened that {friend:friends} had one, and {:looks.a} {:wears}.",
        "Down at the {:places}, {friend:friends} was {:hobbies} on one.",
        "Every {:days} {friend:friends} sat on one and ate {:foods}.",
    ),
    "swap_ask": (
        '"Shall we swap on {:days}?" {hero.she} {:asked} {:gently}.',
        '"Will you take my {thing} for it?" {hero.she} {:asked} {:gently}.',
        '"What {:traits.a} {toy}! Shall we swap?" {hero.she} {:asked} {:gently}.',
    ),
    "swap_deal": (
        '"With pleasure," {friend.she} {:said}, {:gesture}.',
        "So they swapped {:gently}, and the {:crowd} {:cheered}.",
    ),
    "swap_now": (
        "Now {friend} had the {thing}, and {hero} had the {toy}.",
        "{hero.She} tried it {:gently}, and it went {:sounds}.",
        "With the {thing}, {friend} was as {:moods} as {:looks.a} {:things}.",
    ),
    # Something makes a noise at night.
    "noise_more": (
        "{hero.She} hid under {:looks.a} {:wears}, but still it went {noise}.",
        "It went {noise}, {noise}, {noise}, and then {:gently} {:sounds}.",
        "{hero.She} tried {:hobbies}, but {noise} it went, and {noise} again.",
    ),
    "noise_go": (
        "So {hero.she} took {gift:things.a} and {:moves} out.",
        "At last {hero.she} {:moves} out with {gift:things.a} and {:looks.a} {:wears}.",
    ),
    "noise_who": (
        "It was only {friend:friends}, {:hobbies} in {:looks.a} {:wears}.",
        "There sat {friend:friends} in {:looks.a} {:homes}, eating {:foods}.",
    ),
    "noise_why": (
        '"I do that when I am lonely," {friend.she} {:said}, {:gesture}.',
        '"Oh no, was I too loud?" {friend.she} {:said} {:gently}.',
        '"I always do that on {:days.many}," {friend.she} {:said}, {:gesture}.',
    ),
    "noise_gift": (
        "So {hero} gave {friend} the {gift}, and all was quiet.",
        "{friend.She} took the {gift} and never went {noise} again.",
    ),
    # A birthday.
    "cake": (
        "The cake was made of {:looks} {:foods} and {:sauces}.",
        "From the {:jobs} came a cake as {:looks} as {:fruits.a}.",
    ),
    "candles": (
        "It had {n:numbers} {:looks} candles and {m:numbers} {:looks} ones, which made {n+m}.",
        "{friend} was {n:numbers} and {m:numbers}, which is {n+m}, and {:traits} for that age.",
    ),
    "party": (
        "The {:crowd} {:cheered}, and the cake was cut {:gently}.",
        "{friend} blew at the {:traits} candles with a loud {:sounds}.",
    ),
    "present": (
        '"What {:traits.a} {gift}!" {friend.she} {:said}, {:gesture}.',
        "Then {hero} gave {friend} the {gift}, wrapped in {:looks.a} {:wears}.",
    ),
}
