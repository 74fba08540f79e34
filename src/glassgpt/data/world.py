"""The words of the world: who lives in it, where, and what there is.

Every table is a list of rows, a row is one word in all its forms. No word of a table begins another one
of it, so a reader always knows which was drawn. How the words meet in sentences is in `scenes`.
"""

from glassgpt.data.templates import Row


def nouns(words: str) -> tuple[Row, ...]:
    """Words in three forms, split at commas: `nouns("egg, leaf/leaves")[1]["many"] == "leaves"`."""
    return tuple(_noun(*word.strip().split("/")) for word in words.split(","))


def _noun(one: str, many: str = "") -> Row:
    article = "an" if one.startswith(("a", "e", "i", "o", "u", "hour")) else "a"  # the h of an hourglass is silent
    return {"": one, "a": f"{article} {one}", "A": f"{article.capitalize()} {one}", "many": many or f"{one}s"}


def plain(words: str) -> tuple[Row, ...]:
    """Words or phrases in one form only, split at commas."""
    return tuple({"": word.strip()} for word in words.split(","))


def people(words: str) -> tuple[Row, ...]:
    """`people("Max mouse he")`: a name, a kind, and the pronouns that follow."""
    return tuple(_person(*word.rsplit(maxsplit=2)) for word in words.split(","))


def _person(name: str, kind: str, she: str) -> Row:
    her, whom = {"she": ("her", "her"), "he": ("his", "him")}[she]
    forms = {"": name.strip(), "kind": kind, "she": she, "her": her, "whom": whom}
    return forms | {"She": she.capitalize(), "Her": her.capitalize()}


def numbers(words: str) -> tuple[Row, ...]:
    """Number words, with a capital for the start of a sentence."""
    return tuple({"": word, "Cap": word.capitalize()} for word in words.split())


# The names differ in their first letters, and name and kind share it: friendly to the ear and to a small model.
HEROES = people(
    "Alma ant she, Bruno bear he, Clara cat she, Dora duck she, Emil elephant he, Felix fox he, Hugo hedgehog he,"
    "Lotte lamb she, Max mouse he, Otto otter he, Pia pig she, Rosa rabbit she"
)
FRIENDS = people(
    "Mr Badger badger he, Mrs Goose goose she, Mr Toad toad he, Mrs Owl owl she, Mr Mole mole he, Mrs Hen hen she,"
    "Mr Crow crow he, Mrs Frog frog she"
)

# Long lists are cheap to learn where the word comes often; no word comes in fewer than one story of 150.
WORDS: dict[str, tuple[Row, ...]] = {
    "heroes": HEROES,
    "friends": FRIENDS,
    "jobs": nouns("baker, miller, postman, king, queen, tailor, gardener, captain, teacher, doctor, wizard, mayor"),
    "traits": nouns(
        "small, brave, shy, merry, sleepy, curious, polite, clever, gentle, cheerful, stubborn, hungry, tidy, "
        "lazy, proud, dreamy, quiet, silly, hopeful, kind, nosy, patient, round, fluffy, busy, noisy, serious, "
        "ticklish, elegant, wise, jolly, grumpy, "
        "zealous"
    ),
    "looks": nouns(
        "red, blue, green, yellow, purple, orange, silver, golden, pink, white, grey, striped, "
        "spotted, crooked, shiny, rusty, tiny, wobbly, wooden, old, huge, lopsided, sticky, velvet, sparkling, "
        "itchy, fuzzy, glittering, knitted, neat, painted, quilted, ragged, tartan, upside-down, "
        "turquoise, zigzag, gigantic, floppy, invisible, magic, "
        "borrowed, frozen, new"
    ),
    "moods": plain(
        "happy, glad, warm, cosy, lucky, giddy, calm, rich, grand, bright, snug, wise, jolly, peaceful, cheerful, "
        "content, thankful, important"
    ),
    "weathers": nouns(
        "rainy, sunny, windy, foggy, frosty, snowy, cloudy, misty, stormy, chilly, grey, drizzly, lovely, "
        "ordinary, hot, quiet"
    ),
    "days": nouns("Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday"),
    "places": plain(
        "harbour, market, meadow, river, library, orchard, station, mill, beach, pond, forest, garden, village, "
        "well, lighthouse, barn, museum, school, bridge, hill, castle, theatre, volcano, zoo, island, desert, "
        "jungle, airport"
    ),
    "near": plain("behind, under, beside, near, above, below, opposite, inside"),
    "homes": nouns(
        "teapot, boot, hatbox, drawer, barrel, bucket, hollow log, saucepan, piano, "
        "suitcase, cupboard, tent, laundry basket, pumpkin, treehouse, bathtub"
    ),
    "things": nouns(
        "kite, lantern, umbrella, whistle, button, spoon, ladder, mirror, teacup, feather, map, key, bell, "
        "pillow, compass, ribbon, candle, broom, rope, notebook, magnet, cushion, "
        "postcard, envelope, hammer, snowball, pencil, sponge, hourglass"
    ),
    "toys": nouns("drum, violin, trumpet, balloon, sledge, hammock"),
    "wears": nouns("scarf, coat, cap, vest, bow tie, jumper, apron, mitten, wig, sock, helmet, raincoat"),
    "foods": plain(
        "soup, pancakes, lemon cake, bread, cheese, noodles, honey, jam, toast, popcorn, pudding, dumplings, "
        "waffles, custard, muffins, gingerbread, biscuits, apple pie, porridge, cocoa, spinach, "
        "raisins, marmalade, stew, pickles, ice cream, cabbage, sausages, toffee, liquorice, fudge, "
        "meatballs, omelette, ravioli, yoghurt, "
        "nut cake"
    ),
    "sauces": plain(
        "mustard, pepper, cinnamon, cream, salt, mint, syrup, vinegar, parsley, ginger, garlic, sprinkles, "
        "vanilla, chalk"
    ),
    "fruits": nouns("plum, pear, apple, cherry/cherries, nut, acorn, carrot, onion, bean, mushroom, egg, melon"),
    "numbers": numbers("two three four five"),
    "lots": numbers("six seven eight"),
    "few": numbers("two three"),
    "hobbies": plain(
        "singing, dancing, knitting, rowing, napping, painting, whistling, reading, climbing, juggling, "
        "fishing, yodelling, digging, humming, sneezing, daydreaming, counting sheep, walking backwards"
    ),
    "moves": plain(
        "hopped, walked, skipped, tiptoed, marched, trotted, rolled, danced, hurried, bounced, galloped, crept"
    ),
    "said": plain(
        "said, whispered, sighed, mumbled, called, sang, shouted, squeaked, murmured, declared, giggled, hummed, "
        "yawned, laughed"
    ),
    "asked": plain("asked, wondered, cried, begged"),
    "gently": plain(
        "slowly, softly, loudly, kindly, wisely, gravely, cheerfully, politely, sleepily, proudly, happily, "
        "bravely, carefully, sweetly, grandly, shyly, gently, nervously, merrily, modestly, dreamily, eagerly, fondly, "
        "lazily, quietly, tenderly, upside down, warmly"
    ),
    "sounds": plain("plop, clang, hiss, whoosh, boing, thump, rumble, twang, fizz, gurgle"),
    "crowd": plain(
        "ducks, bees, crows, snails, geese, moths, frogs, spiders, swallows, worms, crickets, kittens, "
        "penguins, puppies"
    ),
    "cheered": plain(
        "clapped, cheered, danced, hummed, bowed, waved, giggled, wept a little, took notes, joined in, stopped "
        "arguing, whistled along"
    ),
}
