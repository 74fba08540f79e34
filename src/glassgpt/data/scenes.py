"""The scenes that every story shares: how it opens, who comes along, how it ends.

Options of one scene differ before their first draw, so the text itself tells which one it is. A bare draw
never opens a sentence. The adventures in the middle are in `plots` and `mishaps`.
"""

SCENES: dict[str, tuple[str, ...]] = {
    "story": ("{:opening} {:life}\n{:day} {:plot}\n{:close} {:last}",),
    "opening": (
        "Once upon a time, {hero:heroes} the {hero.kind} was {:traits}.",
        "This is the story of {hero:heroes} the {hero.kind}, who had {:looks.a} {:wears}.",
        "Far away, {:near} the {:places}, lived {hero:heroes} the {hero.kind}.",
        "Have you heard of {hero:heroes} the {hero.kind} and {hero.her} {:looks} {:wears}?",
        "My grandmother once met {hero:heroes} the {hero.kind}, who was {:traits}.",
        "Everybody loved {hero:heroes} the {hero.kind} and {hero.her} {:foods}.",
    ),
    "life": (
        "{hero.She} slept in {:looks.a} {:homes} and dreamed of {:foods}.",
        "Nothing pleased {hero.whom} like {:foods} and {:hobbies}.",
        "Best of all {hero.she} liked {:foods} with {:sauces}.",
        "{hero.She} owned {:looks.a} {:things} and {:looks.a} {:wears}.",
        "{hero.She} was afraid of {:things.many}, but not of {:crowd}.",
        "On {:days.many} {hero.she} wore {:looks.a} {:wears} and ate {:foods}.",
    ),
    "day": (
        "One {:weathers} {:days} everything changed.",
        "On {:days} it was {:weathers}, and the wind smelled of {:foods}.",
        "It was {:weathers.a} {:days}.",
        "Then came {:weathers.a} {:days}, with clouds like {:foods}.",
    ),
    "meet": (
        "Along came {friend:friends} in {:looks.a} {:wears}.",
        "Nearby sat {friend:friends}, eating {:foods} with {:sauces}.",
        "Soon {hero.she} met {friend:friends}, who was {:hobbies} {:gently}.",
        "Up in a tree sat {friend:friends}, {:hobbies} {:gently}.",
        "Who should come by but {friend:friends}, {:traits} as ever?",
    ),
    "gesture": (
        "polishing {friend.her} {:looks} glasses",
        "scratching {friend.her} ear",
        "looking at the {:places}",
        "chewing some {:foods}",
        "hiding {:things.a} behind {friend.her} back",
        "wiggling {friend.her} toes",
        "holding up {:looks.a} {:wears}",
        "with a mouth full of {:foods}",
    ),
    "close": (
        "They ate {:foods} with {:sauces} until nothing was left.",
        "{friend} gave {hero} {:traits.a} hug and some {:foods}.",
        "Later they sat {:near} the {:places} and sang about {:foods}.",
        'That night {hero.she} wrote in {hero.her} {:looks} diary: "Today I was {:moods}."',
        "For supper they had {:foods} with {:sauces}, and nobody said no.",
        '"You are {:traits.a} friend," {hero.she} {:said} {:gently}.',
        "Afterwards they went {:hobbies} in {:looks.a} {:homes}.",
        '"Same again on {:days}?" {hero.she} {:asked} {:gently}.',
    ),
    "last": (
        "{hero.She} felt {:moods} and a little {:traits}.",
        "At bedtime {hero.she} was as {:moods} as {:looks.a} {:things}.",
        "From that day on, they went {:hobbies} every {:days}.",
        "Since then, {hero.she} never goes out without {:looks.a} {:things}.",
        "And that is why {:crowd} are so {:traits}.",
        "And the moon looked down, as {:traits} as {:fruits.a}.",
        "Good night, {hero}, and dream of {:looks} {:fruits.many}.",
    ),
}
