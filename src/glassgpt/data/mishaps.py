"""More adventures: things go wrong, and somebody helps; things change hands, and somebody is glad.

The beats of the plots that `plots` begins, one block for each, in its order.
"""

MISHAPS: dict[str, tuple[str, ...]] = {
    # Two things change hands.
    "swap_meet": (
        "Now {friend:friends} had {:looks.a} {toy}, but no {thing}.",
        "It so happened that {friend:friends} had {toy.a} and {:looks.a} {:wears}.",
        "Down at the {:places}, {friend:friends} was {:hobbies} on {toy.a}.",
        "Every {:days} {friend:friends} sat on {toy.a} and ate {:foods}.",
    ),
    "swap_ask": (
        '"Shall we swap on {:days}?" {:asked} {hero} {:gently}.',
        '"I will give you my {thing} for your {toy}," {:said} {hero} {:gently}.',
        "{hero} looked at the {:traits} {toy}, and {friend} looked at the {thing}.",
        '"What {:traits.a} {toy}!" {:said} {hero}. "Would you like {thing.a}?"',
    ),
    "swap_deal": (
        '"With pleasure," {:said} {friend}, {:gesture}.',
        "{hero} gave {friend} the {thing}, and {friend} {:gently} gave {hero} the {toy}.",
        "So they swapped {:gently}, and the {:crowd} {:cheered}.",
        "{friend} thought about it over {:foods} with {:sauces} and said yes.",
    ),
    "swap_now": (
        "Now {friend} had the {thing}, and {hero} had the {toy} and some {:foods}.",
        "{hero} tried the {toy} {:gently}, and it went {:sounds}.",
        "{friend} took the {thing} to the {:places}, and {hero} took the {toy} to the {:places}.",
        "With the {thing}, {friend} was as {:moods} as {:looks.a} {:things}.",
    ),
    # The wind steals something.
    "wind_sad": (
        "There it hung on {:looks.a} {:things}, much too high.",
        '"Come back, {:traits} {wear}!" {:said} {hero} {:gently}.',
        "Without the {wear}, {hero} felt as {:traits} as {:fruits.a}.",
        "{hero} threw {:foods} at it, then {:looks.a} {:things}.",
        "The {:traits} {:crowd} pulled at the {wear} {:gently}.",
    ),
    "wind_help": (
        '"Hold my {:foods}," {:said} {friend}, and climbed up {:gently}.',
        "Then {friend} stood on {:looks.a} {:homes} and caught the {wear}.",
        "With {:looks.a} {:things}, {friend} poked at the {wear}.",
        "{friend} called {:numbers} {:crowd}, and they all blew {:gently}.",
    ),
    "wind_down": (
        "Soon the {wear} was back on {hero}, smelling of {:foods}.",
        "Down came the {wear}, and out fell {:numbers} {:fruits.many}.",
        "So the {wear} came home from the {place}, as {:moods} as {:looks.a} {:things}.",
        "The {wear} landed on the {:traits} {:jobs} with a loud {:sounds}.",
    ),
    # Something makes a noise at night.
    "noise_more": (
        '"What goes {noise} on {:weathers.a} night?" {:asked} {hero}.',
        "{hero} hid under {:looks.a} {:wears}, but still it went {noise}.",
        "It went {noise}, then {:sounds}, then {:gently} {noise} again.",
        "{hero} tried {:hobbies}, but {noise} it went, and {noise} again.",
    ),
    "noise_go": (
        "So {hero} took {gift:things.a} and {:moves} to the {place}.",
        "At last {hero} {:moves} out with {gift:things.a} and {:looks.a} {:wears}.",
        "Very {:gently}, {hero} carried {gift:things.a} to the {place}.",
    ),
    "noise_who": (
        "It was only {friend:friends}, {:hobbies} in {:looks.a} {:wears}.",
        "There sat {friend:friends} in {:looks.a} {:homes}, eating {:foods}.",
        "Behind the door stood {friend:friends}, {:traits} as ever.",
    ),
    "noise_why": (
        '"I go {noise} when I am lonely," {:said} {friend}, {:gesture}.',
        '"That was my {:things}," {:said} {friend}, {:gesture}.',
        '"Oh no, was I too loud?" {:said} {friend} {:gently}.',
        '"I always go {noise} on {:days.many}," {:said} {friend}, {:gesture}.',
    ),
    "noise_gift": (
        "So {hero} {:gently} gave {friend} the {gift}, and all was quiet.",
        "{friend} took the {:traits} {gift} from {hero} and never went {noise} again.",
        "The {gift} was just what {friend} needed, and so was {:traits} {hero}.",
    ),
    # A birthday.
    "cake": (
        "The cake was made of {:looks} {:foods} and {:sauces}.",
        "From the {:jobs} came a cake as {:looks} as {:fruits.a}.",
        "They had {:foods} for everybody, even for the {:traits} {:crowd}.",
    ),
    "candles": (
        "It had {n:numbers} {:looks} candles and {m:numbers} {:looks} ones, and {n} and {m} made {n+m}.",
        "{hero} lit {n:numbers} {:looks} candles and the {:jobs} lit {m:numbers}, so there were {n+m}.",
        "{friend} was {n:numbers} and {m:numbers}, which is {n+m}, and {:traits} for that age.",
    ),
    "party": (
        "The {:crowd} {:cheered}, and {friend} cut the cake {:gently}.",
        "{friend} blew at the {:traits} candles with a loud {:sounds}.",
        "They played at {:hobbies}, and {friend} won {:looks.a} {:wears}.",
    ),
    "present": (
        '"What {:traits.a} {gift}!" {:said} {friend}, {:gesture}.',
        "Then {hero} gave {friend} the {gift}, wrapped in {:looks.a} {:wears}.",
        '"Just what I wanted: {gift.a}!" {:said} {friend} {:gently}.',
    ),
    # A voyage.
    "boat_aim": (
        '"My {boat} will sail to the {place:places}," {:said} {hero} {:gently}.',
        "On the map, the {place:places} was only as big as {:looks.a} {:fruits}.",
        "It was time to see the {place:places}, where they give you {:foods} with {:sauces}.",
    ),
    "boat_sail": (
        '"Room for one more {:traits} sailor?" asked {friend}, {:gesture}.',
        "{friend} jumped in {:gently}, and the {boat} went {:sounds}.",
        "So {hero} and {friend} rowed the {boat} with {:things.a} and {:looks.a} {:things}.",
    ),
    "boat_storm": (
        "A wave as high as {:homes.a} came, and the {:crowd} {:cheered}.",
        "The {boat} began to leak, and {friend} {:gently} filled the hole with {:foods}.",
        "It rained, so {hero} and {friend} put {:looks.a} {:wears} over the {boat}.",
        "When they were tired, {:numbers} {:crowd} pushed the {boat} {:gently}.",
    ),
    "boat_land": (
        "At last they came to the {place}, and the {:traits} {:jobs} gave them {:foods}.",
        "The {place} was small, {:traits} and full of {:things.many}.",
        "Nobody at the {place} had ever seen {boat.a} with such {:traits.a} {hero.kind} in it.",
    ),
    # Something is broken.
    "mend_try": (
        "{hero} rubbed the {thing} with {:sauces}, but it only went {:sounds}.",
        '"{thing.A} has feelings," {:said} {hero}, {:hobbies} {:gently}.',
        "{hero} shook the {thing}, and out came {:numbers} {:fruits.many}.",
    ),
    "mend_idea": (
        '"Have you said please?" asked {friend}, {:gesture}.',
        '"Be {:traits} to it," {:said} {friend}, {:gesture}.',
        '"Put the {thing} in {:homes.a} until {:days}," {:said} {friend}.',
        '"Give it {:foods}," {:said} {friend}, {:gesture}.',
    ),
    "mend_do": (
        "They did, and the {thing} {:gently} went {:sounds} and worked.",
        "{hero} did so {:gently}, and the {thing} was as {:moods} as {:fruits.a}.",
        "At once the {thing} turned {:looks}, then {:looks}, and worked.",
    ),
    "mend_pay": (
        "The {owner} took the {thing} home and left {:foods} with {:sauces}.",
        "The {owner} kissed the {thing} {:gently} and {:moves} away.",
        '"My {thing}!" {:said} the {owner}. "You shall have {:looks.a} {:wears}."',
    ),
    # Hiccups.
    "cure": (
        "{hero} drank {:sauces} out of {:wears.a}, but still went {noise}.",
        "Standing in {:looks.a} {:homes} did not help: {noise}!",
        '"Hold your breath and think of {:foods}," {:said} the {:jobs}. No: {noise}!',
    ),
    "cure_friend": (
        '"Eat {:foods} with {:sauces}," {:said} {friend}, {:gesture}.',
        '"I had that on {:days}," {:said} {friend}. "Try {:hobbies} {:gently}."',
        '"Quick, hide in {:looks.a} {:homes}!" {:said} {friend} {:gently}.',
    ),
    "cured": (
        "{hero} tried it {:gently}, and the next {noise} did not come.",
        "That was so {:traits} that {hero} forgot to go {noise}.",
        "{hero} laughed {:gently}, and the hiccups {:moves} over to {friend}.",
    ),
    # A shop.
    "shop": (
        "The first {thing} was {:looks}, and the second was {:traits}.",
        "By noon the {:traits} {:crowd} had looked at every {thing} {:gently}.",
        "It was {:looks.a} {:homes} with a sign that said: {thing.many}.",
    ),
    "buyer": (
        "In walked {friend:friends} in {:looks.a} {:wears}.",
        'First came {friend:friends} and {:said}: "One {thing}, please."',
        "The door went {:sounds}, and there stood {friend:friends}.",
    ),
    "price": (
        '"It costs {n:numbers} {fruit:fruits.many} and {m:numbers} more," {:said} {hero}. "So {n+m} {fruit.many}."',
        '"Now {n:numbers} and {m:numbers} {fruit:fruits.many} are only {n+m} {fruit.many}," {:said} {hero} {:gently}.',
        '"For my {:traits} friends I ask {n:numbers} and {m:numbers}, or {n+m} {fruit:fruits.many}," {:said} {hero}.',
    ),
    "sold": (
        '"Here are {n+m} {fruit.many}," {:said} {friend}, {:gesture}, and took the {thing}.',
        "{friend} paid {n+m} {fruit.many} for the {thing} and put it under {:looks.a} {:homes}.",
        "So {friend} took the {thing} and paid with {n+m} {:looks} {fruit.many}.",
    ),
}
