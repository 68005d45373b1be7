"""Words of the simulated shop: shelves of both domains, attribute values, brand syllables."""

from __future__ import annotations

# department -> category -> leaves; the profile decides how many of each are used.
_HOME: dict[str, dict[str, tuple[str, ...]]] = {
    "Clothing": {
        "Tops": ("T-shirt", "Shirt", "Jumper"),
        "Bottoms": ("Jeans", "Trousers", "Skirt"),
        "Outerwear": ("Jacket", "Coat"),
        "Nightwear": ("Pyjamas", "Dressing gown"),
    },
    "Shoes and bags": {
        "Shoes": ("Trainers", "Boots", "Sandals"),
        "Bags": ("Backpack", "Handbag", "Suitcase"),
        "Accessories": ("Belt", "Scarf"),
        "Jewellery": ("Watch", "Necklace"),
    },
    "Kitchen": {
        "Cookware": ("Frying pan", "Saucepan", "Casserole"),
        "Tableware": ("Plate", "Mug", "Bowl"),
        "Knives": ("Chef's knife", "Chopping board"),
        "Storage": ("Food jar", "Lunch box"),
    },
    "Living": {
        "Lighting": ("Table lamp", "Floor lamp", "Candle"),
        "Textiles": ("Cushion", "Rug", "Curtain"),
        "Furniture": ("Side table", "Armchair"),
        "Decoration": ("Vase", "Picture frame"),
    },
    "Bath and bed": {
        "Bedding": ("Duvet cover", "Pillow", "Blanket"),
        "Towels": ("Bath towel", "Hand towel", "Bath mat"),
        "Bathroom": ("Soap", "Shower curtain"),
        "Nursery": ("Baby blanket", "Mobile"),
    },
    "Garden": {
        "Planting": ("Plant pot", "Watering can", "Planter box"),
        "Outdoor living": ("Garden chair", "Parasol", "Hammock"),
        "Tools": ("Spade", "Secateurs"),
        "Lights": ("Lantern", "String lights"),
    },
}

_SPORT: dict[str, dict[str, tuple[str, ...]]] = {
    "Outdoor": {
        "Camping": ("Tent", "Sleeping bag"),
        "Hiking": ("Hiking boots", "Rucksack"),
        "Climbing": ("Climbing chalk", "Climbing rope"),
    },
    "Fitness": {
        "Strength": ("Dumbbell", "Kettlebell"),
        "Yoga": ("Yoga mat", "Yoga block"),
        "Running": ("Running shoes", "Running vest"),
    },
    "Team and racket": {
        "Ball games": ("Football", "Basketball"),
        "Rackets": ("Tennis racket", "Shuttlecocks"),
        "Kit": ("Team shirt", "Kit bag"),
    },
    "Play": {
        "Board games": ("Board game", "Card game"),
        "Building": ("Building blocks", "Model kit"),
        "Craft": ("Modelling clay", "Paint set"),
    },
}
# domain -> department -> category -> leaves
TAXONOMIES = {"home": _HOME, "sport": _SPORT}
DOMAINS = tuple(TAXONOMIES)
CONSUMABLES = frozenset({"Candle", "Soap", "Climbing chalk", "Shuttlecocks", "Modelling clay"})

# What a product looks like from afar; every leaf has one silhouette.
SHAPES = (
    "top", "trousers", "dress", "shoe", "bag", "round", "pot", "lamp", "textile", "furniture",
    "tool", "box",
)  # fmt: skip
_LOOKS = {
    "top": (
        "T-shirt", "Shirt", "Jumper", "Jacket", "Coat", "Pyjamas", "Running vest", "Team shirt",
    ),
    "trousers": ("Jeans", "Trousers"),
    "dress": ("Skirt", "Dressing gown"),
    "shoe": ("Trainers", "Boots", "Sandals", "Hiking boots", "Running shoes"),
    "bag": ("Backpack", "Handbag", "Suitcase", "Rucksack", "Kit bag"),
    "round": (
        "Watch", "Necklace", "Plate", "Candle", "Football", "Basketball", "Lantern",
        "String lights", "Mobile", "Climbing chalk",
    ),
    "pot": (
        "Frying pan", "Saucepan", "Casserole", "Mug", "Bowl", "Food jar", "Vase", "Plant pot",
        "Watering can", "Planter box", "Kettlebell", "Modelling clay",
    ),
    "lamp": ("Table lamp", "Floor lamp", "Parasol", "Shuttlecocks"),
    "textile": (
        "Belt", "Scarf", "Cushion", "Rug", "Duvet cover", "Pillow", "Blanket", "Bath towel",
        "Hand towel", "Bath mat", "Baby blanket", "Hammock", "Sleeping bag", "Yoga mat",
        "Climbing rope", "Curtain", "Shower curtain",
    ),
    "furniture": ("Side table", "Armchair", "Garden chair"),
    "tool": ("Chef's knife", "Spade", "Secateurs", "Dumbbell", "Tennis racket"),
    "box": (
        "Chopping board", "Lunch box", "Picture frame", "Soap", "Yoga block", "Board game",
        "Card game", "Building blocks", "Model kit", "Paint set", "Tent",
    ),
}  # fmt: skip
SHAPE_OF = {leaf: shape for shape, leaves in _LOOKS.items() for leaf in leaves}

MATERIALS = ("cotton", "wool", "linen", "leather", "wood", "metal", "ceramic", "glass")
# The rule "material depends on where the product stands": allowed values of each department.
ALLOWED_MATERIALS: dict[str, tuple[str, ...]] = {
    "Clothing": ("cotton", "wool", "linen", "leather"),
    "Shoes and bags": ("leather", "cotton", "metal", "linen"),
    "Kitchen": ("metal", "ceramic", "glass", "wood"),
    "Living": ("wood", "metal", "glass", "cotton", "wool"),
    "Bath and bed": ("cotton", "linen", "wool", "ceramic"),
    "Garden": ("wood", "metal", "ceramic", "glass"),
    "Outdoor": ("cotton", "wool", "leather", "metal"),
    "Fitness": ("cotton", "metal", "wood", "leather"),
    "Team and racket": ("leather", "cotton", "wood", "metal"),
    "Play": ("wood", "metal", "ceramic", "cotton"),
}

COLORS = (
    "black", "white", "blue", "brown", "grey", "red", "green", "pink", "navy", "beige", "yellow",
    "purple",
)  # fmt: skip
COLOR_SHARES = (0.22, 0.125, 0.11, 0.08, 0.06, 0.055, 0.07, 0.065, 0.07, 0.065, 0.045, 0.035)
PATTERNS = ("plain", "vertical stripe", "horizontal stripe", "check", "dots", "diagonal")
PATTERN_SHARES = (0.5, 0.1, 0.12, 0.12, 0.09, 0.07)
STYLES = ("classic", "modern", "sporty", "rustic", "romantic", "minimal")
AUDIENCES = ("men", "women", "unisex")
AUDIENCE_SHARES = (0.5, 0.42, 0.08)
SEASONS = ("spring", "summer", "autumn", "winter")
TIERS = ("value", "mid", "premium")
SIZES = ("extra small", "small", "medium", "large", "extra large")
SIZE_SHARES = (0.1, 0.22, 0.34, 0.22, 0.12)
# What a department's products boast of; each leaf uses three of them.
FEATURES: dict[str, tuple[str, ...]] = {
    "Clothing": ("machine washable", "breathable", "stretch", "crease-free", "lined"),
    "Shoes and bags": ("waterproof", "lightweight", "non-slip", "padded", "foldable"),
    "Kitchen": ("dishwasher-safe", "oven-proof", "non-stick", "stackable", "induction-ready"),
    "Living": ("dimmable", "handmade", "flat-packed", "stain-resistant", "scented"),
    "Bath and bed": ("quick-drying", "hypoallergenic", "machine washable", "extra soft", "scented"),
    "Garden": ("weatherproof", "rust-free", "foldable", "frost-proof", "solar-powered"),
    "Outdoor": ("waterproof", "lightweight", "windproof", "padded", "foldable"),
    "Fitness": ("non-slip", "lightweight", "breathable", "reflective", "extra grip"),
    "Team and racket": ("match quality", "lightweight", "breathable", "hand-stitched", "padded"),
    "Play": ("for all ages", "non-toxic", "travel size", "glow-in-the-dark", "stackable"),
}
ORIGINS = (
    "Portugal", "Italy", "Turkey", "India", "Vietnam", "China", "Poland", "Sweden", "Germany",
    "Morocco",
)  # fmt: skip

AGE_BANDS = ("18-24", "25-34", "35-44", "45-54", "55-64", "65+")
GENDERS = ("female", "male", "other")
REGIONS = (
    "North", "North-East", "East", "South-East", "South", "South-West", "West", "North-West",
)  # fmt: skip
DEVICES = ("mobile", "desktop", "tablet")
HOUSEHOLDS = ("single", "couple", "family", "shared")

INTENTS = ("buy", "compare", "browse", "gift", "reorder")
INTENT_SHARES = (0.25, 0.30, 0.35, 0.05, 0.05)
GIFT, REORDER = INTENT_SHARES[3], INTENT_SHARES[4]
SURFACES = ("search", "recommendations", "related", "history")
SURFACE_SHARES = {"search": 0.60, "recommendations": 0.22, "related": 0.18}
LANGUAGES = ("en", "mixed")  # of a query
POLICIES = ("softmax", "uniform")

_ONSETS = ("Ba", "Co", "De", "Fi", "Ga", "Hu", "Ka", "Lo", "Mi", "Na", "Or", "Pe", "Ri", "Sa", "Ve")
_MIDDLES = ("la", "ne", "ri", "to", "mu", "ska", "ve", "do", "lin", "bra", "zi")
_ENDINGS = ("n", "ra", "st", "vo", "x", "lle", "k")


def brand_names(n_brands: int) -> list[str]:
    """``n_brands`` different pronounceable names, the same for every seed."""
    bases = (len(_ONSETS), len(_MIDDLES), len(_ENDINGS))
    size = bases[0] * bases[1] * bases[2]
    if n_brands > size:
        raise ValueError(f"n_brands must be at most {size}, got {n_brands}")
    # 389 shares no factor with the 1,155 names, so the walk meets each name once.
    numbers = [(position * 389) % size for position in range(n_brands)]
    return [
        _ONSETS[number % bases[0]]
        + _MIDDLES[number // bases[0] % bases[1]]
        + _ENDINGS[number // (bases[0] * bases[1])]
        for number in numbers
    ]
