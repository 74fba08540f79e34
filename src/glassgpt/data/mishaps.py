"""More adventures: things go wrong, and somebody helps; things change hands, and somebody is glad.

The beats of the plots that `plots` begins, one block for each, in its order.
"""

MISHAPS: dict[str, tuple[str, ...]] = {
    # Two things change hands.
    "swap_meet": (
        "It so happened that {friend:friends} had one, and {:looks.a} {:wears}.",
        "Every {:days} {friend:friends} sat on one and swallowed {:foods}.",
    ),
    "swap_ask": (
        '"Shall we swap on {:days}?" {hero.she} {:asked} {:gently}.',
        '"What {:traits.a} {toy}! Shall we trade?" {hero.she} {:asked} {:gently}.',
    ),
    "swap_deal": (
        '"With the greatest pleasure," {friend.she} {:said}, {:gesture}.',
        "So they shook hands {:gently}, and the {:crowd} {:cheered}.",
    ),
    "swap_now": (
        "Now {friend} had the {thing}, and {hero} had the {toy}.",
        "{hero.She} tried it out {:gently}, and it went {:sounds}.",
    ),
    # Something makes a noise at night.
    "noise_more": (
        "It went {noise}, {noise}, {noise}, and then {:gently} {:sounds}.",
        "{hero.She} tried {:hobbies} instead, but {noise} it went, and {noise} again.",
    ),
    "noise_go": (
        "So {hero.she} took {gift:things.a} and {:moves} out into the dark.",
        "At last {hero.she} {:moves} outside with {gift:things.a} and {:looks.a} {:wears}.",
    ),
    "noise_who": (
        "It was only {friend:friends}, {:hobbies} in {:looks.a} {:wears}.",
        "There lay {friend:friends} in {:looks.a} {:homes}, sipping {:foods}.",
    ),
    "noise_why": (
        '"I do that whenever I am lonely," {friend.she} {:said}, {:gesture}.',
        '"My family always does that on {:days.many}," {friend.she} {:said}, {:gesture}.',
    ),
    "noise_gift": (
        "So {hero} gave {friend} the {gift}, and all was quiet.",
        "{friend.She} took the {gift} gratefully and never went {noise} again.",
    ),
    # A birthday.
    "cake": (
        "The cake was made of {:looks} {:foods} and {:sauces}.",
        "From the {:jobs} came an enormous cake, as {:looks} as {:fruits.a}.",
    ),
    "candles": (
        "On it burned {n:numbers} {:looks} candles and {m:numbers} {:looks} ones, which made {n+m}.",
        "{friend.She} was {n:numbers} and {m:numbers}, which is {n+m}, and {:traits} for that age.",
    ),
    "party": (
        "The {:crowd} {:cheered}, and everyone got a piece {:gently}.",
        "{friend.She} blew out the flames with a loud {:sounds}.",
    ),
    "present": (
        '"What {:traits.a} {gift}!" {friend.she} {:said}, {:gesture}.',
        "Then {hero} gave {friend} the {gift}, wrapped in {:looks.a} {:wears}.",
    ),
}
