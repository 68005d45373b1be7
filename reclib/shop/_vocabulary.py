"""The surface forms of the shop's shelves, values and occasions, in text and in queries.

A notation of one line: ``common form|synonym|synonym > hypernym|hypernym``. The first form is the
common one. All forms stand before a noun or after "made of" and "in", so that templates can use
any of them: materials and countries are nouns, everything else is an adjective or stands as one.
"""

from __future__ import annotations

from typing import NamedTuple

# leaf -> (English forms > hypernyms, German, French, Spanish word of a code-mixed query)
_LEAVES: dict[str, tuple[str, str]] = {
    "T-shirt": ("T-shirt|tee|crew-neck > top", "Shirt, maillot, camiseta"),
    "Shirt": ("shirt|button-down|oxford > top", "Hemd, chemise, camisa"),
    "Jumper": ("jumper|sweater|pullover > knitwear", "Pulli, pull, jersey"),
    "Jeans": ("jeans|denims|denim trousers > bottoms", "Jeanshose, jean, vaqueros"),
    "Trousers": ("trousers|slacks|chinos > bottoms", "Hose, pantalon, pantalones"),
    "Skirt": ("skirt|midi skirt|wrap skirt > bottoms", "Rock, jupe, falda"),
    "Jacket": ("jacket|blazer|blouson > outerwear", "Jacke, veste, chaqueta"),
    "Coat": ("coat|overcoat|parka > outerwear", "Mantel, manteau, abrigo"),
    "Pyjamas": ("pyjamas|pajamas|sleep set > nightwear", "Schlafanzug, pyjama, pijama"),
    "Dressing gown": ("dressing gown|bathrobe|robe > nightwear", "Bademantel, peignoir, bata"),
    "Trainers": ("trainers|sneakers|gym shoes > shoes", "Turnschuhe, baskets, zapatillas"),
    "Boots": ("boots|ankle boots|bootees > shoes", "Stiefel, bottes, botas"),
    "Sandals": ("sandals|sliders|strappy sandals > shoes", "Sandalen, sandales, sandalias"),
    "Backpack": ("backpack|daypack|school bag > bag", "Schulranzen, cartable, mochila"),
    "Handbag": ("handbag|purse|shoulder bag > bag", "Handtasche, sac, bolso"),
    "Suitcase": ("suitcase|trolley case|cabin case > luggage", "Koffer, valise, maleta"),
    "Belt": ("belt|waist belt|strap > accessory", "Gürtel, ceinture, cinturón"),
    "Scarf": ("scarf|shawl|wrap > accessory", "Schal, écharpe, bufanda"),
    "Watch": ("watch|wristwatch|timepiece > jewellery", "Armbanduhr, montre, reloj"),
    "Necklace": ("necklace|pendant|chain > jewellery", "Halskette, collier, collar"),
    "Frying pan": ("frying pan|skillet|fry pan > cookware", "Pfanne, poêle, sartén"),
    "Saucepan": ("saucepan|milk pan|cooking pot > cookware", "Kochtopf, casserole, cazo"),
    "Casserole": ("casserole|Dutch oven|stew pot > cookware", "Bräter, cocotte, cazuela"),
    "Plate": ("plate|dinner plate|side plate > tableware", "Teller, assiette, plato"),
    "Mug": ("mug|coffee mug|tea cup > tableware", "Becher, tasse, taza"),
    "Bowl": ("bowl|cereal bowl|soup bowl > tableware", "Schüssel, bol, cuenco"),
    "Chef's knife": ("chef's knife|cook's knife > knife", "Messer, couteau, cuchillo"),
    "Chopping board": ("chopping board|cutting board > board", "Schneidebrett, planche, tabla"),
    "Food jar": ("food jar|storage jar|canister > container", "Vorratsdose, bocal, tarro"),
    "Lunch box": ("lunch box|bento box|snack box > container", "Brotdose, gamelle, fiambrera"),
    "Table lamp": ("table lamp|desk lamp|bedside lamp > lamp", "Tischlampe, lampe, lámpara"),
    "Floor lamp": ("floor lamp|standard lamp > lamp", "Stehlampe, lampadaire, lámpara de pie"),
    "Candle": ("candle|pillar candle|tea light > lighting", "Kerze, bougie, vela"),
    "Cushion": ("cushion|throw pillow|scatter cushion > soft furnishing", "Kissen, coussin, cojín"),
    "Rug": ("rug|carpet|floor rug > soft furnishing", "Teppich, tapis, alfombra"),
    "Curtain": ("curtain|drape|window panel > soft furnishing", "Vorhang, rideau, cortina"),
    "Side table": ("side table|end table|coffee table > table", "Beistelltisch, guéridon, mesita"),
    "Armchair": ("armchair|easy chair|lounge chair > chair", "Sessel, fauteuil, sillón"),
    "Vase": ("vase|flower vase|bud vase > decoration", "Blumenvase, soliflore, florero"),
    "Picture frame": ("picture frame|photo frame > decoration", "Bilderrahmen, cadre, marco"),
    "Duvet cover": ("duvet cover|quilt cover > bedding", "Bettbezug, housse, funda"),
    "Pillow": ("pillow|bed pillow|headrest > bedding", "Kopfkissen, oreiller, almohada"),
    "Blanket": ("blanket|throw|bedspread > bedding", "Wolldecke, couverture, manta"),
    "Bath towel": ("bath towel|bath sheet|shower towel > towel", "Badetuch, serviette, toalla"),
    "Hand towel": ("hand towel|face towel|guest towel > towel", "Handtuch, essuie-mains, toallita"),
    "Bath mat": ("bath mat|shower mat|bath rug > mat", "Badematte, tapis de bain, alfombrilla"),
    "Soap": ("soap|soap bar|hand soap > toiletry", "Seife, savon, jabón"),
    "Shower curtain": ("shower curtain|bath curtain > bath linen", "Duschvorhang, rideau, cortina"),
    "Baby blanket": ("baby blanket|swaddle|cot blanket > nursery", "Babydecke, lange, mantita"),
    "Mobile": ("mobile|cot mobile|hanging toy > nursery", "Windspiel, carillon, móvil"),
    "Plant pot": ("plant pot|flowerpot|planter > container", "Blumentopf, cache-pot, maceta"),
    "Watering can": ("watering can|water jug > garden tool", "Gießkanne, arrosoir, regadera"),
    "Planter box": ("planter box|window box|trough > container", "Kasten, jardinière, jardinera"),
    "Garden chair": ("garden chair|patio chair > chair", "Gartenstuhl, chaise, silla"),
    "Parasol": ("parasol|sun umbrella|sunshade > shade", "Sonnenschirm, ombrelle, sombrilla"),
    "Hammock": ("hammock|hanging bed|swing bed > seat", "Hängematte, hamac, hamaca"),
    "Spade": ("spade|shovel|digging spade > garden tool", "Spaten, bêche, pala"),
    "Secateurs": ("secateurs|pruning shears > garden tool", "Gartenschere, sécateur, tijeras"),
    "Lantern": ("lantern|storm lamp|hurricane lamp > light", "Laterne, lanterne, farol"),
    "String lights": ("string lights|fairy lights > lights", "Lichterkette, guirlande, luces"),
    "Tent": ("tent|dome tent|shelter > camping gear", "Zelt, tente, tienda"),
    "Sleeping bag": ("sleeping bag|camping quilt > camping gear", "Schlafsack, duvet, saco"),
    "Hiking boots": ("hiking boots|walking boots > shoes", "Wanderschuhe, bottines, botas"),
    "Rucksack": ("rucksack|trekking pack|hiking pack > bag", "Wanderrucksack, sac, mochila"),
    "Climbing chalk": ("climbing chalk|grip chalk > climbing gear", "Kreide, magnésie, magnesio"),
    "Climbing rope": ("climbing rope|dynamic rope > climbing gear", "Kletterseil, corde, cuerda"),
    "Dumbbell": ("dumbbell|hand weight|free weight > weight", "Hantel, haltère, mancuerna"),
    "Kettlebell": ("kettlebell|kettle weight|girya > weight", "Kugelhantel, girevoy, pesa rusa"),
    "Yoga mat": ("yoga mat|exercise mat|pilates mat > mat", "Yogamatte, tapis, esterilla"),
    "Yoga block": ("yoga block|yoga brick|pilates block > prop", "Yogablock, brique, bloque"),
    "Running shoes": ("running shoes|joggers|runners > shoes", "Laufschuhe, baskets, zapatillas"),
    "Running vest": ("running vest|singlet|running top > top", "Laufshirt, débardeur, camiseta"),
    "Football": ("football|soccer ball|match ball > ball", "Fußball, ballon, balón"),
    "Basketball": ("basketball|hoop ball|street ball > ball", "Korbball, ballon, baloncesto"),
    "Tennis racket": ("tennis racket|racquet > bat", "Tennisschläger, raquette, raqueta"),
    "Shuttlecocks": ("shuttlecocks|birdies|shuttles > balls", "Federbälle, volants, volantes"),
    "Team shirt": ("team shirt|club jersey|match shirt > top", "Trikot, maillot, camiseta"),
    "Kit bag": ("kit bag|sports bag|holdall > bag", "Sporttasche, sac, bolsa"),
    "Board game": ("board game|family game|tabletop game > game", "Brettspiel, jeu, juego"),
    "Card game": ("card game|playing cards|card deck > game", "Kartenspiel, cartes, cartas"),
    "Building blocks": ("building blocks|toy bricks > toys", "Bauklötze, cubes, bloques"),
    "Model kit": ("model kit|construction kit|scale model > toy", "Bausatz, maquette, maqueta"),
    "Modelling clay": ("modelling clay|play dough|plasticine > craft", "Knete, argile, arcilla"),
    "Paint set": ("paint set|paint box|watercolours > craft", "Malkasten, peinture, pinturas"),
}  # fmt: skip

_COLORS: dict[str, tuple[str, str]] = {
    "black": ("black|jet|ebony > dark", "schwarz, noir, negro"),
    "white": ("white|ivory|chalk-white > light", "weiß, blanc, blanco"),
    "blue": ("blue|azure|cobalt > cool", "blau, bleu, azul"),
    "brown": ("brown|chocolate|chestnut > dark", "braun, marron, marrón"),
    "grey": ("grey|gray|charcoal|silver-grey > neutral", "grau, gris, gris"),
    "red": ("red|scarlet|crimson > bright", "rot, rouge, rojo"),
    "green": ("green|emerald|olive > cool", "grün, vert, verde"),
    "pink": ("pink|rose|blush > pastel", "rosa, rose, rosado"),
    "navy": ("navy|midnight-blue|ink-blue > dark", "dunkelblau, marine, azul marino"),
    "beige": ("beige|sand|cream|ecru > neutral", "sandfarben, crème, crema"),
    "yellow": ("yellow|mustard|lemon > bright", "gelb, jaune, amarillo"),
    "purple": ("purple|violet|plum > bright", "lila, mauve, morado"),
}

# attribute -> value -> forms; leaves and colours are above.
_VALUES: dict[str, dict[str, str]] = {
    "colour": {value: forms for value, (forms, _) in _COLORS.items()},
    "material": {
        "cotton": "cotton|jersey|poplin > fabric",
        "wool": "wool|lambswool|merino > fabric",
        "linen": "linen|flax|ramie > fabric",
        "leather": "leather|cowhide|nappa > hide",
        "wood": "wood|timber|hardwood",
        "metal": "metal|steel|alloy",
        "ceramic": "ceramic|stoneware|earthenware > pottery",
        "glass": "glass|crystal|clear-glass",
    },
    "pattern": {
        "plain": "plain|one-colour|unpatterned > simple",
        "vertical stripe": "vertical stripe|pinstripe|upright stripe > striped",
        "horizontal stripe": "horizontal stripe|breton|cross stripe > striped",
        "check": "check|checked|plaid|gingham > patterned",
        "dots": "dotted|polka-dot|spotted > patterned",
        "diagonal": "diagonal|slanted|bias stripe > striped",
    },
    "style": {
        "classic": "classic|timeless|traditional > elegant",
        "modern": "modern|contemporary|urban > sleek",
        "sporty": "sporty|athletic|active > casual",
        "rustic": "rustic|farmhouse|country > casual",
        "romantic": "romantic|dreamy|whimsical > elegant",
        "minimal": "minimal|minimalist|pared-back > sleek",
    },
    "audience": {
        "men": "men's|gents > adult",
        "women": "women's|ladies > adult",
        "unisex": "unisex|gender-neutral > adult",
    },
    "season": {
        "spring": "spring|springtime > warm-weather",
        "summer": "summer|summertime > warm-weather",
        "autumn": "autumn|fall > cold-weather",
        "winter": "winter|wintertime > cold-weather",
    },
    "size": {
        "extra small": "extra small|XS|tiny > little",
        "small": "small|compact|petite > little",
        "medium": "medium|mid-size|standard",
        "large": "large|big|roomy > generous",
        "extra large": "extra large|XL|oversized > generous",
    },
    "feature": {
        "machine washable": "machine washable|easy-wash|washable",
        "breathable": "breathable|airy|ventilated",
        "stretch": "stretch|stretchy|elastic",
        "crease-free": "crease-free|non-iron|wrinkle-free",
        "lined": "lined|fully lined",
        "waterproof": "waterproof|rainproof|water-resistant",
        "lightweight": "lightweight|featherlight|ultralight",
        "non-slip": "non-slip|anti-slip|slip-proof",
        "padded": "padded|cushioned|quilted",
        "foldable": "foldable|folding|collapsible",
        "dishwasher-safe": "dishwasher-safe|dishwasher-proof",
        "oven-proof": "oven-proof|oven-safe|heatproof",
        "non-stick": "non-stick|easy-release",
        "stackable": "stackable|stacking|nesting",
        "induction-ready": "induction-ready|induction",
        "dimmable": "dimmable|dimming",
        "handmade": "handmade|handcrafted|artisan",
        "flat-packed": "flat-packed|flatpack|self-assembly",
        "stain-resistant": "stain-resistant|stain-proof",
        "scented": "scented|fragrant|perfumed",
        "quick-drying": "quick-drying|fast-drying|quick-dry",
        "hypoallergenic": "hypoallergenic|allergy-friendly",
        "extra soft": "extra soft|super-soft|velvety",
        "weatherproof": "weatherproof|all-weather",
        "rust-free": "rust-free|rustproof",
        "frost-proof": "frost-proof|frost-resistant|hardy",
        "solar-powered": "solar-powered|solar",
        "windproof": "windproof|wind-resistant",
        "reflective": "reflective|high-visibility|hi-vis",
        "extra grip": "extra grip|high-grip",
        "match quality": "match quality|competition-grade",
        "hand-stitched": "hand-stitched|hand-sewn",
        "for all ages": "all-ages|family-friendly",
        "non-toxic": "non-toxic|child-safe",
        "travel size": "travel size|pocket-size",
        "glow-in-the-dark": "glow-in-the-dark|luminous",
    },
    "origin": {
        "Portugal": "Portugal|northern Portugal > Europe",
        "Italy": "Italy|northern Italy > Europe",
        "Turkey": "Turkey|western Turkey > the Mediterranean",
        "India": "India|southern India > Asia",
        "Vietnam": "Vietnam|central Vietnam > Asia",
        "China": "China|southern China > Asia",
        "Poland": "Poland|southern Poland > Europe",
        "Sweden": "Sweden|southern Sweden > Europe",
        "Germany": "Germany|southern Germany > Europe",
        "Morocco": "Morocco|coastal Morocco > the Mediterranean",
    },
    "occasion": {
        "beach holiday": "beach holiday|trip to the seaside",
        "home office": "home office|desk at home",
        "garden party": "garden party|party on the lawn",
        "winter evening": "winter evening|evening by the fire",
        "new flat": "new flat|first home",
        "hiking weekend": "hiking weekend|weekend in the hills",
        "wedding guest": "wedding guest|guest at a wedding",
        "newborn gift": "newborn gift|present for a new baby",
        "city break": "city break|weekend in the city",
        "slow breakfast": "slow breakfast|long brunch",
        "balcony garden": "balcony garden|garden on the balcony",
        "spa day": "spa day|day of wellness",
        "first day at work": "first day at work|new job",
        "festival weekend": "festival weekend|open-air festival",
        "autumn planting": "autumn planting|planting before the frost",
        "rainy afternoon": "rainy afternoon|wet day indoors",
        "birthday party": "birthday party|children's party",
        "new year's fitness": "new year's fitness plan|fresh start in January",
        "race day": "race day|day of the race",
        "yoga retreat": "yoga retreat|week of yoga",
        "match in the park": "match in the park|game in the park",
        "club season": "club season|season with the club",
    },
}

SYNONYM, HYPERNYM = 0.25, 0.1  # how often a value is said by one, where it has one
LANGUAGES = ("de", "fr", "es")
# Words that a shop puts before a noun and that say nothing about it.
ADJECTIVES = (
    "lovely", "great", "nice", "fine", "perfect", "wonderful", "special", "handy", "beautiful",
    "charming",
)  # fmt: skip
# What fills up a long query; too short to count as a word that no title has.
PADDING = ("for", "my", "new", "uk", "buy", "get", "any", "in", "on", "web", "of", "all", "and")

# Keys beside each key on an English keyboard.
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")


class Forms(NamedTuple):
    """How a value is said: ``common``, its ``synonyms``, and the wider ``hypernyms``."""

    common: str
    synonyms: tuple[str, ...]
    hypernyms: tuple[str, ...]


def forms(attribute: str, value: str) -> Forms:
    """The forms of a value; ``attribute`` "leaf" asks for a shelf's type noun.

    A value without an entry, such as a brand, is said in one way: as it is written.
    """
    if attribute == "leaf":
        line = _LEAVES[value][0] if value in _LEAVES else value
    else:
        line = _VALUES.get(attribute, {}).get(value, value)
    names, _, wider = line.partition(" > ")
    common, *synonyms = names.split("|")
    return Forms(common, tuple(synonyms), tuple(wider.split("|")) if wider else ())


def foreign(attribute: str, value: str) -> tuple[str, ...]:
    """The German, French and Spanish word of a leaf or colour; empty where there is none."""
    entry = (_LEAVES if attribute == "leaf" else _COLORS).get(value)
    return tuple(entry[1].split(", ")) if entry and attribute in ("leaf", "colour") else ()


def has_entry(attribute: str, value: str) -> bool:
    """Whether the vocabulary knows the value."""
    return value in (_LEAVES if attribute == "leaf" else _VALUES.get(attribute, {}))


def neighbours() -> dict[str, str]:
    """Letter -> the letters on the keys beside it."""
    places = {
        letter: (row, column + 0.4 * row)
        for row, letters in enumerate(_ROWS)
        for column, letter in enumerate(letters)
    }
    return {
        letter: "".join(
            other
            for other, (row, column) in places.items()
            if other != letter and abs(row - y) <= 1 and abs(column - x) <= 1
        )
        for letter, (y, x) in places.items()
    }
