"""The adventures: what happens in the middle of a story.

A plot knows the hero, brings the friend on, and keeps its promises: what is given was there before, and
sums come out right. `scenes` has what all stories share, `mishaps` the rest of these plots.
"""

PLOTS: dict[str, tuple[str, ...]] = {
    "plot": (
        "{hero.She} found {:looks.a} {thing:things} {:near} the {:places}. {:find_ask} {:meet}\n"
        "{:find_tell} {:find_bring} {:find_thanks}",
        "{hero.She} went out to gather {:looks} {fruit:fruits.many} for {friend:friends}. {:pick} {:tired}\n"
        "{:visit} {:pick_give}",
        "{hero.She} kept {lot:lots} {fruit:fruits.many} in {:looks.a} {:homes}. {:eaten} {:who}\n{:sorry} {:share}",
        "{hero.She} had {:looks.a} {thing:things}, but longed for {toy:toys.a}. {:swap_meet} {:swap_ask}\n"
        "{:swap_deal} {:swap_now}",
        "{hero.She} could not sleep, because something {:near} the {:places} went {noise:sounds}. {:noise_more} "
        "{:noise_go}\n{:noise_who} {:noise_why} {:noise_gift}",
        "It was the birthday of {friend:friends}, and {hero} bought {:looks.a} {gift:things}. {:cake} {:candles}\n"
        "{:party} {:present}",
    ),
    # Something lost finds its owner.
    "find_ask": (
        '"Who has lost this beautiful thing?" {hero.she} {:asked} {:gently}.',
        "It {:moves} away, and {hero.she} ran after it {:gently}.",
    ),
    "find_tell": (
        '"It belongs to the {owner:jobs}," {friend.she} {:said}, {:gesture}.',
        '"Only the {owner:jobs} has one like that," {friend.she} {:said} {:gently}.',
    ),
    "find_bring": (
        "So they {:moves} down the lane and gave it back.",
        "Together they carried it there, {:hobbies} {:gently}.",
    ),
    "find_thanks": (
        '"My {:traits} old {thing}!" cried the {owner} {:gently}.',
        "To say thank you, the {owner} invited them for {:foods} with {:sauces}.",
    ),
    # Two numbers meet.
    "pick": (
        "{hero.She} put {n:numbers} in {:looks.a} {:homes} and {m:numbers} in {hero.her} {:wears}, which made {n+m}.",
        "First {hero.she} picked {n:numbers}, then {m:numbers} more {:near} {:homes.a}, and that was {n+m}.",
    ),
    "tired": (
        "It was hard work, so {hero.she} rested and ate some {:foods} with {:sauces}.",
        '"That is quite enough for one basket," {hero.she} {:said} {:gently}.',
    ),
    "visit": (
        "{friend.She} opened the door in {:looks.a} {:wears}.",
        "Soon {hero.she} knocked {:gently} at the little door.",
    ),
    "pick_give": (
        '"Now I can cook {:foods} with {:sauces}," {friend.she} {:said} {:gently}.',
        "{friend.She} took them all and gave {hero} {:looks.a} {:things}.",
    ),
    # Some are missing.
    "eaten": (
        "In the middle of the night, {:traits.a} somebody ate {few:few} of them, so {lot-few} were left.",
        "While {hero.she} was {:hobbies}, {few:few} of them {:moves} away, so {lot-few} stayed behind.",
    ),
    "who": (
        '"Who could have done that?" {hero.she} {:asked} {:gently}.',
        "Only the {:crowd} had seen it, and they were {:traits}.",
    ),
    "sorry": (
        '"It was me," {:said} {friend:friends} {:gently}.',
        "Then {friend:friends} came in {:looks.a} {:wears}, crumbs on {friend.her} nose.",
    ),
    "share": (
        '"Never mind," {hero.she} {:said}, and shared the rest.',
        '"I am terribly sorry," {friend.she} {:said}, {:gesture}.',
    ),
}
