"""Words of the simulated shop: its shelves, attribute values and brand syllables."""

from __future__ import annotations

# department -> category -> leaves; the profile decides how many of each are used.
TAXONOMY: dict[str, dict[str, tuple[str, ...]]] = {
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
        "Lighting": ("Table lamp", "Floor lamp", "Candle holder"),
        "Textiles": ("Cushion", "Rug", "Curtain"),
        "Furniture": ("Side table", "Armchair"),
        "Decoration": ("Vase", "Picture frame"),
    },
    "Bath and bed": {
        "Bedding": ("Duvet cover", "Pillow", "Blanket"),
        "Towels": ("Bath towel", "Hand towel", "Bath mat"),
        "Bathroom": ("Soap dish", "Shower curtain"),
        "Nursery": ("Baby blanket", "Mobile"),
    },
    "Garden": {
        "Planting": ("Plant pot", "Watering can", "Planter box"),
        "Outdoor living": ("Garden chair", "Parasol", "Hammock"),
        "Tools": ("Spade", "Secateurs"),
        "Lights": ("Lantern", "String lights"),
    },
}

MATERIALS = ("cotton", "wool", "linen", "leather", "wood", "metal", "ceramic", "glass")
# The rule "material depends on where the product stands": allowed values of each department.
ALLOWED_MATERIALS: dict[str, tuple[str, ...]] = {
    "Clothing": ("cotton", "wool", "linen", "leather"),
    "Shoes and bags": ("leather", "cotton", "metal", "linen"),
    "Kitchen": ("metal", "ceramic", "glass", "wood"),
    "Living": ("wood", "metal", "glass", "cotton", "wool"),
    "Bath and bed": ("cotton", "linen", "wool", "ceramic"),
    "Garden": ("wood", "metal", "ceramic", "glass"),
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

AGE_BANDS = ("18-24", "25-34", "35-44", "45-54", "55-64", "65+")
GENDERS = ("female", "male", "other")
REGIONS = (
    "North", "North-East", "East", "South-East", "South", "South-West", "West", "North-West",
)  # fmt: skip
DEVICES = ("mobile", "desktop", "tablet")
HOUSEHOLDS = ("single", "couple", "family", "shared")

INTENTS = ("buy", "compare", "browse", "gift", "reorder")
INTENT_SHARES = (0.25, 0.30, 0.35, 0.05, 0.05)
SURFACES = ("search", "recommendations", "related", "history")
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
