"""What homes are made of: their rooms, the furniture of each kind of room, and where small things go. Tables only.

Where exactly a thing stands is furnishing.py's; what a class is, catalogue.py's.
"""

from __future__ import annotations

AT_WALLS = {
    "kitchen": "fridge stove kitchencounter sink kitchencounter dishwasher kitchencounterdrawer garbagecan",
    "livingroom": "sofa tvstand bookshelf desk sofa orangelamp speaker",
    "bedroom": "bed nightstand closet dresser desk garbagecan orangelamp",
    "bathroom": "bathtub toilet bathroomcounter sink washingmachine garbagecan bucket",
}
"""Furniture along the walls of each kind of room, in the order in which places are sought."""
IN_THE_MIDDLE = {"kitchen": "kitchentable", "livingroom": "coffeetable", "bedroom": "rug", "bathroom": "rug"}
HIGH_UP = {
    "kitchen": "kitchencabinet kitchencabinet kitchencabinet clock wallphone lightswitch powersocket wallpictureframe",
    "livingroom": "wallshelf wallpictureframe wallpictureframe lightswitch powersocket powersocket clock",
    "bedroom": "wallshelf wallpictureframe mirror coatrack lightswitch powersocket powersocket",
    "bathroom": "bathroomcabinet mirror towelrack lightswitch powersocket",
}
"""What hangs on walls."""
LEVEL = {
    "powersocket": 0.3, "lightswitch": 1.15, "wallshelf": 1.35, "towelrack": 1.15, "coatrack": 1.6, "mirror": 1.05,
    "bathroomcabinet": 1.45, "kitchencabinet": 1.5, "wallphone": 1.3,
}  # fmt: skip
"""How high what hangs begins, in metres."""
ON_FURNITURE = {
    "kitchencounter": "microwave coffeemaker toaster knifeblock coffeepot",
    "tvstand": "tv",
    "nightstand": "tablelamp",
    "desk": "computer keyboard mouse printer",
    "dresser": "radio",
    "bookshelf": "stereo",
}
"""What always or mostly stands on a piece of furniture."""
LOOSE = {
    "kitchen": (
        "apple peach pear plum lime bananas breadslice pie "
        "pudding cupcake cereal crackers chips salmon chicken cutlets "
        "milk condimentbottle dishwashingliquid washingsponge plate plate "
        "plate mug mug waterglass waterglass wineglass "
        "wineglass cutleryfork cutleryfork cutleryknife cutleryknife "
        "dishbowl dishbowl bowl cookingpot fryingpan oventray"
    ),
    "livingroom": (
        "book book magazine remotecontrol cellphone folder notes "
        "creditcard photoframe photoframe candle box pillow mug "
        "phone paper bowl"
    ),
    "bedroom": (
        "book pillow pillow cellphone clothesshirt clothesshirt "
        "clothespile clothespile paper box painkillers hanger hanger "
        "photoframe magazine folder perfume"
    ),
    "bathroom": (
        "towel towel toothbrush toothbrush toothpaste facecream "
        "hairproduct perfume razor barsoap toiletpaper toiletpaper "
        "candle painkillers washingsponge"
    ),
}
"""Small things; some are left out of every home."""
GOES_ON = {
    "kitchen": "kitchencounter kitchentable",
    "livingroom": "coffeetable desk tvstand bookshelf wallshelf sofa",
    "bedroom": "desk dresser nightstand wallshelf bed",
    "bathroom": "bathroomcounter washingmachine",
}
"""Where small things lie."""
GOES_IN = {
    "kitchen": "fridge kitchencabinet kitchencounterdrawer",
    "livingroom": "bookshelf",
    "bedroom": "closet dresser nightstand",
    "bathroom": "bathroomcabinet washingmachine",
}
"""Where small things are shut away."""
COLD = {"apple", "peach", "pear", "plum", "lime", "pie", "pudding", "cupcake", "salmon", "chicken", "cutlets", "milk"}
"""What is kept in the fridge."""
PLANS = {
    True: (
        (("kitchen", "livingroom"), ("bathroom", "bedroom")),
        (("livingroom", "bedroom"), ("kitchen", "bathroom", "bedroom")),
        (("bedroom", "bathroom"), ("livingroom", "kitchen")),
        (("livingroom", "kitchen"), ("bedroom", "bathroom", "bedroom")),
        (("kitchen", "bathroom"), ("livingroom", "bedroom")),
        (("bathroom", "bedroom"), ("bedroom", "livingroom", "kitchen")),
        (("livingroom", "kitchen"), ("bedroom", "bathroom")),
    ),
    False: (
        (("kitchen", "livingroom", "bedroom"), ("bathroom", "bedroom")),
        (("bedroom",), ("livingroom", "kitchen"), ("bathroom", "bedroom")),
        (("bathroom", "kitchen", "livingroom"), ("bedroom", "bedroom")),
        (("livingroom",), ("bathroom", "kitchen"), ("bedroom",)),
        (("bedroom", "bathroom", "kitchen"), ("livingroom", "bedroom")),
        (("kitchen",), ("bathroom", "livingroom"), ("bedroom", "bedroom")),
        (("livingroom", "bathroom", "bedroom"), ("kitchen", "bedroom")),
    ),
}
"""Rows of rooms by world (known or not) and number of the home."""

# fmt: off
WHOLE_AT = {
    True: (
        0, 7, 0, 3, 3, 5, 0, 0, 1, 2, 2, 1, 6, 6, 2, 0, 4, 2, 4, 16, 0, 2, 1, 0, 1,
        0, 0, 2, 1, 6, 3, 4, 0, 2, 0, 0, 3, 1, 1, 1, 0, 0, 5, 5, 2, 2, 1, 0, 0, 0,
    ),
    False: (
        4, 5, 0, 13, 0, 0, 1, 1, 0, 2, 0, 12, 0, 4, 10, 3, 7, 1, 9, 3, 1, 3, 6, 2, 0,
        7, 0, 1, 1, 4, 15, 1, 10, 0, 5, 1, 5, 1, 8, 8, 1, 1, 4, 3, 12, 4, 4, 0, 0, 5,
    ),
}
# fmt: on
"""By world and number: which attempt at a home first has all a home must have. `homes.first_whole` finds it; the list
spares every process that loads a home the attempts before it."""
