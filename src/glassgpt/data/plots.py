"""The adventures: what happens in the middle of a story.

A plot knows the hero, brings the friend on, and keeps its promises: what is given was there before, and
sums come out right. `scenes` has what all stories share, `mishaps` the rest of these plots.
"""

PLOTS: dict[str, tuple[str, ...]] = {
    "plot": (
        "{hero} found {:looks.a} {thing:things} {:near} the {:places}. {:find_ask} {:meet}\n"
        "{:find_tell} {:find_bring} {:find_thanks}",
        "{hero} went out to gather {:looks} {fruit:fruits.many} for {friend:friends}. {:pick} {:sum}\n"
        "{:visit} {:pick_give}",
        "{hero} kept {lot:lots} {fruit:fruits.many} in {:looks.a} {:homes}. {:eaten} {:take}\n{:sorry} {:share}",
        "{hero} had {:looks.a} {thing:things}, but longed for {toy:toys.a}. {:swap_meet} {:swap_ask}\n"
        "{:swap_deal} {:swap_now}",
        "{hero} could not sleep, because something {:near} the {:places} went {noise:sounds}. {:noise_more} "
        "{:noise_go}\n{:noise_who} {:noise_why} {:noise_gift}",
        "It was the birthday of {friend:friends}, and {hero} bought {:looks.a} {gift:things}. {:cake} {:candles}\n"
        "{:party} {:present}",
    ),
    # Something lost finds its owner.
    "find_ask": (
        '"Who has lost this?" {hero.she} {:asked} {:gently}.',
        '"Come home with me," {hero.she} {:said} {:gently}.',
        "It {:moves} away, and {hero.she} ran after it {:gently}.",
    ),
    "find_tell": (
        '"It belongs to the {owner:jobs}," {friend.she} {:said}, {:gesture}.',
        '"Ask the {owner:jobs}," {friend.she} {:said}, "and take some {:foods} with you."',
        '"Only the {owner:jobs} has one like that," {friend.she} {:said} {:gently}.',
    ),
    "find_bring": (
        "So they {:moves} to the {owner} and gave it back.",
        "They took the {thing} to the {owner}, {:hobbies} {:gently}.",
    ),
    "find_thanks": (
        "The {owner} hugged it, then both of them, then {:looks.a} {:homes}.",
        '"My {:traits} old {thing}!" cried the {owner} {:gently}.',
        "To say thank you, the {owner} gave them {:foods} with {:sauces}.",
    ),
    # Two numbers meet.
    "pick": (
        "{hero.She} put {n:numbers} in {:looks.a} {:homes} and {m:numbers} in {hero.her} {:wears}.",
        "First {hero.she} found {n:numbers}, then {m:numbers} more {:near} {:homes.a}.",
    ),
    "sum": (
        "{n.Cap} and {m} made {n+m}, and they looked {:traits}.",
        '"{n.Cap} and {m} is {n+m}," {hero.she} {:said} {:gently}.',
    ),
    "visit": (
        "{friend} opened the door in {:looks.a} {:wears}.",
        "Soon {hero.she} knocked {:gently} at the door of {friend}.",
    ),
    "pick_give": (
        '"All for me?" {friend.she} {:asked}, {:gesture}.',
        '"Now I can make {:foods} with {:sauces}," {friend.she} {:said} {:gently}.',
        "{friend.She} took all {n+m} {fruit.many} and gave {hero} {:looks.a} {:things}.",
    ),
    # Some are missing.
    "eaten": (
        "In the night, {:traits.a} somebody ate {few:few} of them.",
        "While {hero.she} was {:hobbies}, {few:few} of them {:moves} away.",
    ),
    "take": (
        '"{lot.Cap} take away {few} is {lot-few}," {hero.she} {:said} {:gently}.',
        "So only {lot-few} of the {lot} were left, and they looked {:traits}.",
    ),
    "sorry": (
        '"It was me," {:said} {friend:friends} {:gently}.',
        "Then {friend:friends} came in {:looks.a} {:wears}, crumbs on {friend.her} nose.",
        "It was {friend:friends}, who had thought they were {:things.many}.",
    ),
    "share": (
        '"Never mind," {hero.she} {:said}, and shared the other {lot-few}.',
        "So they ate the other {lot-few} together, with {:foods} and {:sauces}.",
        '"I am sorry," {friend.she} {:said}, {:gesture}.',
    ),
}
