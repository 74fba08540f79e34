"""The words of the world: who lives in it, where, and what there is.

Every table is a list of rows, a row is one word in all its forms. No word of a table begins another one
of it, so a reader always knows which was drawn. How the words meet in sentences is in `scenes`.
"""

from glassgpt.data.templates import Row


def nouns(words: str) -> tuple[Row, ...]:
    """Words in three forms, split at commas: `nouns("egg, leaf/leaves")[1]["many"] == "leaves"`."""
    return tuple(_noun(*word.strip().split("/")) for word in words.split(","))


def _noun(one: str, many: str = "") -> Row:
    article = "an" if one[0] in "aeiou" else "a"
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
    "Mr Crow crow he, Mrs Frog frog she, Mr Walrus walrus he, Mrs Lizard lizard she"
)

# Long lists are cheap to learn where the word comes often; no word comes in fewer than one story of 150.
WORDS: dict[str, tuple[Row, ...]] = {
    "heroes": HEROES,
    "friends": FRIENDS,
    "jobs": nouns(
        "baker, miller, postman, king, queen, tailor, fisherman, gardener, clockmaker, captain, teacher, doctor, "
        "painter, shepherd, cook, librarian, mayor, farmer, pirate, juggler, judge, wizard, barber, dentist, "
        "plumber, sailor"
    ),
    "traits": nouns(
        "small, brave, shy, merry, sleepy, curious, polite, clever, gentle, cheerful, stubborn, hungry, tidy, "
        "lazy, proud, dreamy, quiet, silly, hopeful, kind, nosy, patient, round, fluffy, busy, noisy, serious, "
        "ticklish, elegant, wise, famous, modest, playful, jolly, grumpy, thirsty, graceful, lucky, mighty, peculiar, "
        "romantic, wicked, young, zealous"
    ),
    "looks": nouns(
        "red, blue, green, yellow, purple, orange, silver, golden, pink, brown, white, striped, spotted, crooked, "
        "shiny, rusty, tiny, wobbly, wooden, old, huge, lopsided, sticky, velvet, sparkling, itchy, dotted, fuzzy, "
        "glittering, knitted, muddy, neat, painted, quilted, ragged, tartan, upside-down, turquoise, zigzag, emerald"
    ),
    "moods": plain(
        "happy, glad, warm, cosy, lucky, giddy, calm, rich, grand, bright, snug, wise, jolly, peaceful, cheerful, "
        "content, thankful, important"
    ),
    "weathers": nouns(
        "rainy, sunny, windy, foggy, frosty, snowy, misty, cloudy, stormy, chilly, grey, damp, mild, breezy, "
        "drizzly, dusty, sleepy, ordinary, hot, icy, lovely, purple, quiet, lazy"
    ),
    "days": nouns("Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday"),
    "places": plain(
        "harbour, market, meadow, river, library, orchard, station, mill, beach, pond, forest, garden, village, "
        "well, lighthouse, barn, museum, school, bridge, bakery, hill, castle, theatre, volcano, swamp, zoo, "
        "fountain, island, airport, cave, desert, jungle, kiosk, palace, ruin, tunnel"
    ),
    "near": plain("behind, under, beside, near, above, below, opposite, inside"),
    "homes": nouns(
        "teapot, boot, hatbox, drawer, windmill, barrel, bathtub, bucket, hollow log, saucepan, mailbox, piano, "
        "wheelbarrow, suitcase, flowerpot, cupboard, tent, caravan, chimney, cuckoo clock, fishbowl, pumpkin, "
        "treehouse, laundry basket, biscuit tin, snow globe, canoe, lampshade, rocking chair, grandfather clock"
    ),
    "things": nouns(
        "kite, lantern, umbrella, whistle, button, spoon, ladder, mirror, teacup, feather, map, key, bell, "
        "pillow, compass, ribbon, candle, broom, rope, marble, notebook, jug, thimble, magnet, toothbrush, "
        "cushion, postcard, envelope, hammer, needle, snowball, pencil, blanket, doorknob, fork, sponge, hourglass, "
        "inkpot, saddle, tuba, violin case, zip, quill, anchor"
    ),
    "toys": nouns("drum, violin, trumpet, accordion, balloon, sledge, wagon, yo-yo, hammock, seesaw"),
    "wears": nouns(
        "scarf, coat, cap, vest, bow tie, cloak, jumper, nightgown, apron, mitten, wig, sock, helmet, crown, "
        "cardigan, beret, dress, fez, hood, kimono, lampshade, petticoat, raincoat, tutu"
    ),
    "foods": plain(
        "soup, pancakes, lemon cake, bread, cheese, noodles, honey, jam, toast, popcorn, pudding, dumplings, "
        "waffles, custard, muffins, gingerbread, biscuits, apple pie, porridge, cocoa, spinach, butter, raisins, "
        "marmalade, stew, pickles, ice cream, cabbage, sausages, toffee, rice, liquorice, fudge, goulash, hazelnuts, "
        "meatballs, nougat, omelette, ravioli, trifle, vegetables, yoghurt, eclairs, quiche"
    ),
    "sauces": plain(
        "mustard, pepper, cinnamon, cream, salt, mint, syrup, vinegar, parsley, ginger, garlic, sprinkles, "
        "vanilla, chalk"
    ),
    "fruits": nouns(
        "plum, pear, apple, cherry/cherries, fig, peach/peaches, nut, acorn, berry/berries, carrot, turnip, "
        "radish/radishes, onion, bean, mushroom, egg, melon, potato/potatoes, chestnut, cucumber"
    ),
    "numbers": numbers("two three four five six"),
    "lots": numbers("six seven eight nine"),
    "few": numbers("two three four"),
    "hobbies": plain(
        "singing, dancing, knitting, rowing, napping, baking, painting, whistling, reading, climbing, juggling, "
        "gardening, fishing, yodelling, digging, humming, skating, drumming, sneezing, sewing, daydreaming, "
        "counting sheep, polishing shoes, walking backwards, arguing, exploring, jogging, lounging, marching, travelling, "
        "ice skating, boasting"
    ),
    "moves": plain(
        "hopped, walked, skipped, tiptoed, marched, wandered, trotted, strolled, rolled, danced, hurried, "
        "waddled, crept, paddled, bounced, wobbled, sailed, galloped"
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
    "sounds": plain(
        "plop, clang, hiss, whoosh, pop, crash, ding, boing, thump, splash, squeak, rumble, twang, fizz, gurgle, honk"
    ),
    "crowd": plain(
        "ducks, bees, crows, snails, geese, moths, frogs, spiders, swallows, sparrows, worms, crickets, "
        "ladybirds, kittens, beetles, hens, penguins, puppies, seagulls, tadpoles, dragonflies, lobsters, rats, zebras, "
        "jellyfish, unicorns"
    ),
    "cheered": plain(
        "clapped, cheered, danced, hummed, bowed, waved, giggled, wept a little, took notes, joined in, stopped "
        "arguing, whistled along"
    ),
}
