"""The scenes that every story shares: how it opens, who comes along, how it ends.

Options of one scene differ before their first draw, so the text itself tells which one it is. A bare draw
never opens a sentence. The adventures in the middle are in `plots` and `mishaps`.
"""

SCENES: dict[str, tuple[str, ...]] = {
    "story": ("{:opening} {:life}\n{:day} {:plot}\n{:close} {:last}",),
    "opening": (
        "Once upon a time, {hero:heroes} the {hero.kind} was {:traits}.",
        "This is the true story of {hero:heroes} the {hero.kind}, who had {:looks.a} {:wears}.",
        "Far away, {:near} the {:places}, lived {hero:heroes} the {hero.kind}.",
        "Have you heard of {hero:heroes} the {hero.kind} and {hero.her} {:looks} {:wears}?",
        "Everybody loved {hero:heroes} the {hero.kind} and {hero.her} famous {:foods}.",
    ),
    "life": (
        "{hero.She} slept in {:looks.a} {:homes} and dreamed of {:foods}.",
        "Nothing pleased {hero.whom} more than {:foods} and {:hobbies}.",
        "Best of all {hero.she} liked {:foods} with {:sauces}.",
        "{hero.She} proudly owned {:looks.a} {:things} and {:looks.a} {:wears}.",
        "On {:days.many} {hero.she} wore {:looks.a} {:wears} and munched {:foods}.",
    ),
    "day": (
        "One {:weathers} {:days} everything changed.",
        "On {:days} it was {:weathers}, and the wind smelled of {:foods}.",
        "It was an afternoon in spring, and {:weathers}.",
        "Then came {:weathers.a} {:days}, with clouds like {:foods}.",
    ),
    "meet": (
        "Along came {friend:friends} in {:looks.a} {:wears}.",
        "Nearby sat {friend:friends}, nibbling {:foods} with {:sauces}.",
        "Soon {hero.she} met {friend:friends}, who was {:hobbies} {:gently}.",
        "Who should stumble by but {friend:friends}, {:traits} as ever?",
    ),
    "gesture": (
        "polishing {friend.her} {:looks} glasses",
        "gazing at the {:places}",
        "chewing some {:foods}",
        "hiding {:things.a} behind {friend.her} back",
        "wiggling all ten toes",
        "with a mouth full of {:foods}",
    ),
    "close": (
        "They gobbled up {:foods} with {:sauces} until nothing remained.",
        "{friend} gave {hero} {:traits.a} hug and a slice of {:foods}.",
        "Later they sat {:near} the {:places} and made up a song about {:foods}.",
        'That night {hero.she} wrote in {hero.her} {:looks} diary: "Today I was {:moods}."',
        '"You are {:traits.a} friend," {hero.she} {:said} {:gently}.',
        '"Same again on {:days}?" {hero.she} {:asked} {:gently}.',
    ),
    "last": (
        "{hero.She} felt {:moods}, brave, and a little {:traits}.",
        "At bedtime {hero.she} was as {:moods} as {:looks.a} {:things}.",
        "From that day on, they went {:hobbies} every {:days}.",
        "Since then, {hero.she} never leaves home without {:looks.a} {:things}.",
        "And the moon looked down, as round and {:traits} as {:fruits.a}.",
        "Good night, dear {hero}, and dream of {:looks} {:fruits.many}.",
    ),
}
