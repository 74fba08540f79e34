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
        'A letter came: "Dear {hero}, please bring {n:numbers} {fruit:fruits.many} to the {place:places}.'
        ' Yours, {friend:friends}." {:pack} {:sum}\n{:bring} {:why}',
        "{hero} kept {lot:lots} {fruit:fruits.many} in {:looks.a} {:homes}. {:eaten} {:take}\n{:sorry} {:share}",
        "In the {:places}, {hero} opened a shop for {:looks} {thing:things.many}. {:shop} {:buyer}\n{:price} {:sold}",
        "{hero} had {:looks.a} {thing:things}, but longed for {toy:toys.a}. {:swap_meet} {:swap_ask}\n"
        "{:swap_deal} {:swap_now}",
        "The wind stole the {:looks} {wear:wears} of {hero} and blew it to the {place:places}. {:wind_sad} {:meet}\n"
        "{:wind_help} {:wind_down}",
        "{hero} could not sleep, because something {:near} the {place:places} went {noise:sounds}. {:noise_more} "
        "{:noise_go}\n{:noise_who} {:noise_why} {:noise_gift}",
        "It was the birthday of {friend:friends}, and {hero} bought {:looks.a} {gift:things}. {:cake} {:candles}\n"
        "{:party} {:present}",
        "{hero} built a boat out of {boat:homes.a} and {:looks.a} {:wears}. {:boat_aim} {:meet}\n"
        "{:boat_sail} {:boat_storm} {:boat_land}",
        '"My {:looks} {thing:things} is broken," said the {owner:jobs} to {hero}. {:mend_try} {:meet}\n'
        "{:mend_idea} {:mend_do} {:mend_pay}",
        "Then {hero} had hiccups and went {noise:sounds}, {noise}, {noise}. {:cure} {:meet}\n{:cure_friend} {:cured}",
    ),
    # Something lost finds its owner.
    "find_ask": (
        '"Who has lost this {:traits} {thing}?" {:asked} {hero}.',
        '"Come home with me, {thing}," {:said} {hero} {:gently}.',
        "{hero} looked left, looked right, and looked under {:looks.a} {:homes}.",
        "It was cold, so {hero} put {:looks.a} {:wears} on it.",
        "The {thing} {:moves} away, and {hero} ran after it {:gently}.",
    ),
    "find_tell": (
        '"It belongs to the {:traits} {owner:jobs}," {:said} {friend}, {:gesture}.',
        '"The {owner:jobs} lost it on {:days}," {:said} {friend}, {:gesture}.',
        '"Ask the {owner:jobs}," {:said} {friend}, "and take some {:foods} with you."',
        '"Only the {owner:jobs} has {thing.a} like that," {:said} {friend} {:gently}.',
    ),
    "find_bring": (
        "So {hero} {:moves} {:gently} to the {owner} with the {thing}.",
        "{hero} took the {thing} to the {owner}, {:hobbies} {:gently}.",
        "At the {:places} they gave the {thing} to the {owner}.",
        "The {owner} dropped {:looks.a} {:things} when {hero} came with the {thing}.",
    ),
    "find_thanks": (
        "The {owner} hugged the {thing}, then {hero}, then {:looks.a} {:homes}.",
        '"My {:traits} old {thing}!" cried the {owner} {:gently}.',
        "To say thank you, the {owner} gave {hero} {:foods} with {:sauces}.",
        "Now the {owner} had the {thing} again, and was as {:moods} as {:fruits.a}.",
    ),
    # Two numbers meet.
    "pick": (
        "{hero.She} put {n:numbers} {fruit.many} in {:looks.a} {:homes} and {m:numbers} in {hero.her} {:wears}.",
        "There were {n:numbers} {fruit.many} {:near} the {:places} and {m:numbers} {:near} {:homes.a}.",
        "First {hero.she} found {n:numbers} {fruit.many}, then {m:numbers} more {:near} {:homes.a}.",
        "The {:jobs} gave {hero.whom} {n:numbers}, and the {:traits} {:crowd} gave {hero.whom} {m:numbers} more.",
    ),
    "sum": (
        "So {n} {fruit.many} and {m} {fruit.many} made {n+m} {:traits} {fruit.many}.",
        'Counting on {:looks} toes, {hero} {:said}: "{n.Cap} and {m} are {n+m}."',
        "That made {n+m} {fruit.many} in all, and {hero} counted them {:gently}.",
        '"I have {n} and {m}, which makes {n+m}," {:said} {hero} {:gently}.',
    ),
    "visit": (
        "{friend} opened the door in {:looks.a} {:wears}.",
        "Soon {hero} {:moves} to the house of {friend} and knocked {:gently}.",
        "They met {:near} the {:places}, where {friend} was {:hobbies}.",
    ),
    "pick_give": (
        '"All for me?" asked {friend}, {:gesture}.',
        '"Exactly {n+m} {fruit.many}!" {:said} {friend}. "Now I can make {:foods} with {:sauces}."',
        "{hero} gave {friend} the {fruit.many}, and {friend} gave {hero} {:looks.a} {:things}.",
        '"I love {:traits} {fruit.many}," {:said} {friend}, {:gesture}.',
    ),
    "pack": (
        "{hero} packed them in {:looks.a} {:homes} and added {m:numbers} more.",
        "To be safe, {hero} put in {m:numbers} more and some {:foods}.",
        "The {:traits} {:jobs} had just enough, and {:gently} threw in {m:numbers} more.",
    ),
    "bring": (
        "Then {hero} {:moves} to the {place}, {:hobbies} {:gently}.",
        "At the {place}, {friend} was waiting in {:looks.a} {:wears}.",
        "It was far to the {place}, and {hero} stopped for {:foods} with {:sauces}.",
    ),
    "why": (
        '"I am making {:foods}," {:said} {friend}, {:gesture}.',
        '"The {fruit.many} are for the {:traits} {:crowd}," {:said} {friend} {:gently}.',
        '"They are not for eating," {:said} {friend}. "They are for {:hobbies}."',
        '"So many {:traits} {fruit.many}!" {:said} {friend}, {:gesture}.',
    ),
    # Some are missing.
    "eaten": (
        "In the night, {:traits.a} somebody ate {few:few} of them.",
        "While {hero} was {:hobbies}, {few:few} {fruit.many} {:moves} away.",
        "By {:days}, {few:few} {:traits} {fruit.many} were gone.",
        "On the way to the {:places}, {few:few} fell out with a loud {:sounds}.",
    ),
    "take": (
        '"{lot.Cap} take away {few} is {lot-few}," {:said} {hero} {:gently}.',
        "So only {lot-few} of the {lot} {fruit.many} were left, and they looked {:traits}.",
        "{hero} counted {:gently}: {lot} without {few} leaves {lot-few}.",
    ),
    "sorry": (
        '"It was me," {:said} {friend:friends} {:gently}.',
        "Then {friend:friends} came in {:looks.a} {:wears}, crumbs on {friend.her} nose.",
        "It was {friend:friends} who had them, {friend.she} had thought they were {:things.many}.",
        "The {:crowd} pointed at {friend:friends}, who turned as red as {:fruits.a}.",
    ),
    "share": (
        '"Never mind," {:said} {hero}, and shared the other {lot-few} {fruit.many}.',
        "So they ate the other {lot-few} {fruit.many} together, with {:foods} and {:sauces}.",
        "To make up for it, {friend} gave {hero} {:looks.a} {:things}.",
        '"I am sorry," {:said} {friend}, {:gesture}, and brought {few} {:looks} {fruit.many}.',
    ),
}
